"""A control plane that knows nothing but the base protocol of the contract, on a real socket, with faults on demand.

::

    server.give({"jobId": "job_1", "actionType": "script.bash", "params": {}})
    server.fail("poll", too_many_requests("3600"), Cut("headers"))   # the next two polls
    server.always("results", Status(503))                            # until `well("results")`
    server.wait_for(lambda: "job_1" in server.results)

Every request is recorded in `seen`; every break of the contract by the client in `violations`, which the fixture
`plain_server` checks at the end of each test.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from tests.support import base_protocol as judge
from tests.support.faults import Answer, Cut, Fault, Slow, Status
from tests.support.listener import Handler, Listener

T = TypeVar("T")
_AGENTS = "/api/v1/internal/agents/"


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. `headers` have lower-case names; `at` is `time.monotonic()`."""

    endpoint: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    document: Any
    at: float


class PlainServer:
    """Runs from construction to `close`."""

    def __init__(
        self,
        *,
        api_key: str = "ea_agent_of_the_tests",
        prefix: str = "",
        agent_id: str = "agt_1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.api_key = api_key
        self.agent_id = agent_id
        self.max_body_bytes: int | None = None
        """A report with a larger body is answered 413."""
        self.refuse_item: Callable[[dict[str, Any]], int | None] = lambda _item: None
        """A status for a report that holds such an item, None when it is fine."""
        self.seen: list[Seen] = []
        self.results: dict[str, list[dict[str, Any]]] = {}
        """Every result that was taken, by job id, in order of arrival."""
        self.heartbeats: list[dict[str, Any]] = []
        self.notifications: list[dict[str, Any]] = []
        self.violations: list[str] = []
        self.prefix = prefix
        self.host = "127.0.0.1"
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.waiting: deque[Any] = deque()
        self._faults: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._server = Listener(("127.0.0.1", 0), _Handler, self)
        self._scheme = "http" if tls is None else "https"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    # ---- what a test does -------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """For AGENT_API_URL."""
        return f"{self._scheme}://{self.host}:{self._server.server_address[1]}{self.prefix}"

    def give(self, *entries: Any) -> None:
        """Hand these entries out, all in the answer to the next poll; they may be malformed."""
        with self.changed:
            self.waiting.extend(entries)
            self.changed.notify_all()

    def fail(self, endpoint: str, *faults: Fault) -> None:
        """Go wrong once per fault, in this order: register, poll, ack, results, heartbeat."""
        with self.changed:
            self._faults.setdefault(endpoint, deque()).extend(faults)

    def always(self, endpoint: str, fault: Fault) -> None:
        """Go wrong on every request until `well`."""
        with self.changed:
            self._always[endpoint] = fault

    def well(self, endpoint: str) -> None:
        """End of `fail` and `always`."""
        with self.changed:
            self._always.pop(endpoint, None)
            self._faults.pop(endpoint, None)

    def of(self, endpoint: str) -> list[Seen]:
        """The requests to one endpoint."""
        return [request for request in self.seen if request.endpoint == endpoint]

    def wait_for(self, probe: Callable[[], T], within: float = 20.0) -> T:
        """The first true answer of `probe`, looked at after every request; AssertionError after `within` seconds."""
        end = time.monotonic() + within
        with self.changed:
            while True:
                found = probe()
                if found:
                    return found
                left = end - time.monotonic()
                assert left > 0, f"not true within {within} s; seen: {[r.endpoint for r in self.seen][-20:]}"
                self.changed.wait(min(left, 0.2))

    @property
    def connections_made(self) -> int:
        """TCP connections accepted so far."""
        return self._server.made

    def close(self) -> None:
        """Stop answering; idempotent."""
        if self.closing.is_set():
            return
        self.closing.set()
        with self.changed:
            self.changed.notify_all()
        self._server.shutdown()
        for connection in list(self._server.connections):
            self._server.shutdown_request(connection)
        self._server.server_close()
        self._thread.join(5)

    # ---- what the server does ---------------------------------------------------------------------------------------

    def next_fault(self, endpoint: str) -> Fault | None:
        with self.changed:
            queue = self._faults.get(endpoint)
            return queue.popleft() if queue else self._always.get(endpoint)

    def record(self, request: Seen) -> None:
        with self.changed:
            self.seen.append(request)
            self.changed.notify_all()

    def blame(self, problems: list[str]) -> None:
        with self.changed:
            self.violations += problems

    def work(self, request: Seen) -> Status:
        """Answer one well-formed request with the right key; extended servers add to this."""
        handler = getattr(self, f"answer_{request.endpoint}", None)
        if handler is None:
            self.blame([f"{request.method} {request.path} is not of the base protocol"])
            return Status(404)
        self.blame(judge.judge_headers(request.headers))
        if request.body:
            self.blame(judge.judge_body(request.body, request.document))
        answer: Status = handler(request)
        with self.changed:
            self.changed.notify_all()
        return answer

    def answer_register(self, request: Seen) -> Status:
        self.blame(judge.judge_register(request.document))
        return good({"agentId": self.agent_id})

    def answer_poll(self, request: Seen) -> Status:
        self.judge_query(request, {"agentId"})
        with self.changed:
            entries = list(self.waiting)
            self.waiting.clear()
        return good(entries)

    def answer_results(self, request: Seen) -> Status:
        self.blame(judge.judge_results(request.document))
        refusal = self.refused_report(request)
        return refusal or self.take_results(request)

    def answer_heartbeat(self, request: Seen) -> Status:
        self.blame(judge.judge_heartbeat(request.document))
        with self.changed:
            self.heartbeats.append(request.document)
        return good({})

    def answer_notify(self, request: Seen) -> Status:
        self.blame(judge.judge_notification(request.document))
        with self.changed:
            self.notifications.append(request.document)
        return Status(202, body=b"taken")

    def answer_health(self, request: Seen) -> Status:
        return Status(200, body=b"ok")

    def judge_query(self, request: Seen, allowed: set[str]) -> None:
        if request.query.get("agentId") != self.agent_id:
            self.blame([f"poll: agentId is {request.query.get('agentId')!r}"])
        self.blame([f"poll: '{name}' is not of the protocol spoken" for name in sorted(set(request.query) - allowed)])

    def refused_report(self, request: Seen) -> Status | None:
        if self.max_body_bytes is not None and len(request.body) > self.max_body_bytes:
            return Status(413)
        if isinstance(request.document, list):
            for item in request.document:
                code = self.refuse_item(item)
                if code is not None:
                    return Status(code)
        return None

    def take_results(self, request: Seen) -> Status:
        with self.changed:
            for item in request.document:
                self.results.setdefault(item["jobId"], []).append(item)
        return Status(200, body=b"taken")  # the base protocol promises no body


def good(data: Any) -> Status:
    """A 200 answer."""
    return Status(200, {"Content-Type": "application/json"}, json.dumps({"success": True, "data": data}).encode())


class _Handler(Handler):
    def serve(self, body: bytes) -> None:
        owner: PlainServer = self.server.owner
        request = self._read(body)
        owner.record(request)
        fault = owner.next_fault(request.endpoint)
        answer: Status | None = None
        if isinstance(fault, Slow):
            owner.closing.wait(fault.seconds)
            fault = None
        if fault is None or fault.after_work:
            answer = self._judge_and_work(request)
        match fault:
            case Cut():
                self.cut(fault)
            case Answer():
                self.send(Status(200, {}, fault.body))
            case Status():
                self.send(fault)
            case _:
                assert answer is not None
                self.send(answer)

    def _read(self, body: bytes) -> Seen:
        owner: PlainServer = self.server.owner
        parts = urlsplit(self.path)
        path = parts.path.removeprefix(owner.prefix)
        known = {
            "register": "register",
            "jobs": "poll",
            "jobs/ack": "ack",
            "results": "results",
            "heartbeat": "heartbeat",
            "notify": "notify",
        }
        inside = path.startswith(_AGENTS) and parts.path.startswith(owner.prefix)
        inner = path.removeprefix(_AGENTS) if inside else ""
        endpoint = "output" if inner.startswith("jobs/") and inner.endswith("/output") else known.get(inner, "other")
        if path == "/api/v1/health/healthz":
            endpoint = "health"
        try:
            document = json.loads(body) if body else None
        except ValueError:
            owner.blame([f"{endpoint}: the body is not JSON"])
            document = None
        return Seen(
            endpoint=endpoint,
            method=self.command,
            path=path,
            query={name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=body,
            document=document,
            at=time.monotonic(),
        )

    def _judge_and_work(self, request: Seen) -> Status:
        owner: PlainServer = self.server.owner
        if request.headers.get("x-agent-api-key") != owner.api_key:
            return Status(401)
        wanted = "GET" if request.endpoint in {"poll", "health"} else "POST"
        if request.endpoint != "other" and request.method != wanted:
            owner.blame([f"{request.method} {request.path}: should be {wanted}"])
            return Status(405)
        return owner.work(request)
