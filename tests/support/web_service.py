"""A service of the internet on a real socket, over TLS: what `SlackApi` and `TeamsHook` have in common."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.support.faults import Cut, Fault, Silent, Status
from tests.support.listener import Handler, Listener


@dataclass(frozen=True)
class Call:
    """One request as it arrived; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class WebService:
    """Runs inside `with`. `faults` go wrong with the next requests, one each; `calls` are all that came."""

    def __init__(self, tls: Any) -> None:
        self.calls: list[Call] = []
        self.faults: deque[Fault] = deque()
        self.held = 0
        """Requests that were taken and are not answered."""
        self.over = threading.Event()
        self._listener = Listener(("127.0.0.1", 0), _Handler, self)
        self._listener.socket = tls.wrap_socket(self._listener.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def origin(self) -> str:
        """Its certificate is for this name."""
        return f"https://localhost:{self._listener.server_address[1]}"

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown()
        for connection in list(self._listener.connections):
            self._listener.shutdown_request(connection)
        self._listener.server_close()
        self._thread.join(10)

    def answer(self, call: Call) -> Status:
        """What the service says; subclasses."""
        raise AssertionError("a subclass answers")


class _Handler(Handler):
    def serve(self, body: bytes) -> None:
        service: WebService = self.server.owner
        call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        service.calls.append(call)
        fault = service.faults.popleft() if service.faults else None
        if isinstance(fault, Cut):
            self.cut(fault)
        elif isinstance(fault, Silent):
            service.held += 1
            service.over.wait(60)
            self.close_connection = True
        else:
            self.send(fault if isinstance(fault, Status) else service.answer(call))
