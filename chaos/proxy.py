"""A TCP proxy between an agent and the control plane, with faults ("toxics") that can be changed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Final, Literal, get_args

ToxicKind = Literal["latency", "bandwidth", "reset", "black_hole", "cut_after_headers", "slices"]
TOXICS: Final[tuple[ToxicKind, ...]] = get_args(ToxicKind)
_CHUNK: Final = 65_536
_SLICED_BYTES: Final = 400
"""So many bytes of each chunk go one by one; after the headers it makes no difference any more."""
_BANDWIDTH_PIECE: Final = 1_024


@dataclass(frozen=True)
class Toxic:
    """One fault of the network.

    `latency`: every chunk is late by `value` seconds. `bandwidth`: `value` bytes per second. `reset`: connections are
    reset, living and new ones. `black_hole`: nothing passes, nothing is answered, until it ends. `cut_after_headers`:
    the answer's headers pass, then the connection is reset. `slices`: byte by byte.
    """

    kind: ToxicKind
    value: float = 0.0


class _Cut(Exception):  # noqa: N818 - a word of the protocol between the pumps, not an error
    """This connection is over."""


class Proxy:
    """Listens on a free port of the loopback interface from construction to `close`; runs in a thread of its own."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._toxic: Toxic | None = None
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._living: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        """How many were accepted so far."""
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="proxy", daemon=True)
        self._thread.start()
        started.wait(10)

    @property
    def url(self) -> str:
        """For AGENT_API_URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def toxic(self) -> Toxic | None:
        """The fault at work now."""
        return self._toxic

    def set(self, toxic: Toxic | None) -> None:
        """Replace the fault; None heals. Living connections feel it too."""
        asyncio.run_coroutine_threadsafe(self._set(toxic), self._loop).result(10)

    def close(self) -> None:
        """End every connection and the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    # ---- inside its thread ------------------------------------------------------------------------------------------

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accepted, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._end_all())
        self._loop.close()

    async def _end_all(self) -> None:
        self._abort_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set(self, toxic: Toxic | None) -> None:
        self._toxic = toxic
        self._changed.set()
        self._changed = asyncio.Event()
        if toxic is not None and toxic.kind == "reset":
            self._abort_all()

    def _abort_all(self) -> None:
        for writer in self._living:
            _reset(writer)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._living.add(writer)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:  # only `close` cancels
            _reset(writer)
        finally:
            self._living.discard(writer)
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (toxic := self._toxic) is not None and toxic.kind == "black_hole":
            await self._changed.wait()
        if toxic is not None and toxic.kind == "reset":
            _reset(writer)
            return
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:
            _reset(writer)
            return
        self._living.add(up_writer)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, up_writer, answer=False))
                pumps.create_task(self._pump(up_reader, writer, answer=True))
        except* (_Cut, OSError):
            pass
        finally:
            self._living.discard(up_writer)
            _reset(up_writer)
            _reset(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        while data := await reader.read(_CHUNK):
            await self._through(data, writer, answer=answer)
        raise _Cut  # one side has ended: HTTP needs no half-open connections

    async def _through(self, data: bytes, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        while (toxic := self._toxic) is not None and toxic.kind == "black_hole":
            await self._changed.wait()
        match toxic:
            case Toxic("latency", seconds):
                await asyncio.sleep(seconds)
            case Toxic("reset"):
                raise _Cut
            case Toxic("cut_after_headers") if answer and b"\r\n\r\n" in data:
                writer.write(data[: data.index(b"\r\n\r\n") + 4])
                await writer.drain()
                await asyncio.sleep(0.01)  # an abort drops what the kernel has not sent yet
                raise _Cut
            case Toxic("slices"):
                data = await self._slice(data, writer)
            case Toxic("bandwidth", rate):
                data = await self._trickle(data, writer, rate)
            case _:
                pass
        writer.write(data)
        await writer.drain()

    async def _slice(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        for position in range(min(len(data), _SLICED_BYTES)):
            writer.write(data[position : position + 1])
            await writer.drain()
            await asyncio.sleep(0)
        return data[_SLICED_BYTES:]

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter, rate: float) -> bytes:
        toxic = self._toxic
        for position in range(0, len(data), _BANDWIDTH_PIECE):
            if self._toxic is not toxic:
                return data[position:]
            piece = data[position : position + _BANDWIDTH_PIECE]
            writer.write(piece)
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), len(piece) / rate)
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """A reset, not an orderly end, which `abort` alone would send."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
