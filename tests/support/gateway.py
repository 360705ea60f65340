"""A reverse proxy between agents and a control plane, with the faults of `tests.support.faults` on demand.

::

    gateway.always(Status(503), "results")     # this endpoint only; without a name: all
    gateway.well()
    gateway.close()                            # connections are refused, until
    gateway.open()
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable

from tests.support.faults import Answer, Cut, Fault, Silent, Status, Trickle
from tests.support.listener import Handler, Listener

_HOPS = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class Gateway:
    """Listens from construction on; its port stays the same over `close` and `open`."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.refuse: Callable[[str, bytes], Status | None] = lambda _endpoint, _body: None
        """An answer for a request with such a body, None when it may pass."""
        self.port = 0
        self.healed = threading.Event()
        self.unanswered: set[str] = set()
        """Endpoints that a request has been sent to in vain."""
        self._faults: dict[str | None, Fault] = {}
        self._listener: Listener | None = None
        self.open()

    @property
    def url(self) -> str:
        """For AGENT_API_URL. By name, so that the name can fail."""
        return f"http://localhost:{self.port}"

    def always(self, fault: Fault, endpoint: str | None = None) -> None:
        """Go wrong on every request to this endpoint (`results`, `heartbeat`, …), or to all."""
        self.healed.clear()
        self._faults[endpoint] = fault

    def well(self) -> None:
        """No faults any more. Connections that hang are reset, as when a process ends."""
        self._faults.clear()
        self.healed.set()

    def fault_of(self, endpoint: str) -> Fault | None:
        """What to do wrong."""
        return self._faults.get(endpoint) or self._faults.get(None)

    def open(self) -> None:
        """Listen."""
        self._listener = Listener(("127.0.0.1", self.port), _Handler, self)
        self.port = self._listener.server_address[1]
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        """Refuse connections and end those there are; idempotent."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            for connection in list(self._listener.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._listener = None


class _Handler(Handler):
    def serve(self, body: bytes) -> None:
        owner: Gateway = self.server.owner
        endpoint = self.path.partition("?")[0].rpartition("/")[2]
        fault = owner.fault_of(endpoint) or owner.refuse(endpoint, body)
        match fault:
            case None:
                self.send(self._passed_on(body))
            case Status():
                self.send(fault)
            case Answer():
                self.send(Status(200, {}, fault.body))
            case Trickle():
                self._trickle(fault, self._passed_on(body) if fault.after_work else Status(200))
            case Silent():
                owner.unanswered.add(endpoint)
                owner.healed.wait()
                self.close_connection = True
            case Cut():
                if fault.after_work:
                    self._passed_on(body)
                self.cut(fault)
            case _:
                raise TypeError(f"the gateway cannot do {fault}")

    def _passed_on(self, body: bytes) -> Status:
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.owner.upstream_port, timeout=60)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOPS}
            upstream.request(self.command, self.path, body or None, {**kept, "Connection": "close"})
            answer = upstream.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOPS}
            return Status(answer.status, headers, answer.read())
        except (OSError, http.client.HTTPException):
            return Status(502)
        finally:
            upstream.close()

    def _trickle(self, fault: Trickle, answer: Status) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer.body))
        for position in range(len(answer.body)):
            if self.server.owner.healed.wait(fault.seconds_per_byte):
                return
            self.wfile.write(answer.body[position : position + 1])
