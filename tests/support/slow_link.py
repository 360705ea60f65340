"""A link of so many bytes a second, shared by all connections in turn, in each direction."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading

_TICK_S = 0.05
_SHARE = 256


class _Half:
    """One direction of a connection: what was read, not yet passed on."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.waiting = b""
        self.ended = False


class SlowLink:
    """Listens on a port of its own from construction on, and passes everything on to `upstream_port`."""

    def __init__(self, upstream_port: int, bytes_per_second: int) -> None:
        self._upstream_port = upstream_port
        self._budget = int(bytes_per_second * _TICK_S)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._sockets = [self._listening]
        self._ended = threading.Event()
        self._halves: tuple[list[_Half], list[_Half]] = ([], [])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End everything."""
        self._ended.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._ended.wait(_TICK_S):
            self._accept()
            for halves in self._halves:
                self._carry(halves)
        for opened in self._sockets:
            opened.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._upstream_port))
                self._sockets += (client, server)
                self._halves[0].append(_Half(client, server))
                self._halves[1].append(_Half(server, client))

    def _carry(self, halves: list[_Half]) -> None:
        """Pass on a tick's bytes, a share of each connection in turn."""
        left = self._budget
        for half in halves:
            self._take(half)
        while left > 0 and any(half.waiting for half in halves):
            for half in halves:
                share = half.waiting[: min(_SHARE, left)]
                half.waiting = half.waiting[len(share) :]
                left -= len(share)
                with contextlib.suppress(OSError):  # the other end has gone
                    half.sink.setblocking(True)
                    half.sink.sendall(share)
        for half in [half for half in halves if half.ended and not half.waiting]:
            halves.remove(half)
            with contextlib.suppress(OSError):
                half.sink.shutdown(socket.SHUT_WR)

    def _take(self, half: _Half) -> None:
        """Read what there is, but no more than a few ticks' worth: the rest waits at its sender."""
        if half.ended or len(half.waiting) >= 4 * self._budget:
            return
        with selectors.DefaultSelector() as ready:
            ready.register(half.source, selectors.EVENT_READ)
            if not ready.select(0):
                return
        try:
            found = half.source.recv(4 * self._budget)
        except OSError:
            found = b""
        half.waiting += found
        half.ended = not found
