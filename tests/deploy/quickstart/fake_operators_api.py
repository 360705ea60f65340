"""The operators' interface of a control plane, as far as the quick start uses it, on a real socket."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class FakeOperatorsApi:
    """Every job ends at once with `success`, unless `outcomes` has something else for its action."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        """By path: what to answer instead."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                fake.handle(self)

            do_POST = do_GET  # noqa: N815 - the name is the base class's

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if path in self.answers:
            status, text = self.answers[path]
        elif path.endswith("/healthz"):
            status, text = 200, b"{}"
        elif request.headers.get("Authorization") != "Bearer ea_op_test":
            status, text = 401, b'{"success": false, "error": "this token is not known", "code": "unauthorized"}'
        else:
            status, text = 200, json.dumps({"success": True, "data": self._data(request.command, path, body)}).encode()
        request.send_response(status)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    def _data(self, method: str, path: str, body: bytes) -> Any:
        if method == "POST":
            self.submitted.append(json.loads(body))
            return {"id": f"job_{len(self.submitted)}"}
        if path == "/api/v1/jobs":
            return [{"targetAgentId": "agt_1"}, {"targetAgentId": None}, {"targetAgentId": "agt_other"}]
        number = int(path.rsplit("_", 1)[1])
        action = self.submitted[number - 1]["actionType"]
        job = {
            "id": f"job_{number}",
            "status": "success",
            "result": {"output": {"stdout": "Hello\n"}, "exitCode": 0, "error": None},
            "timings": [{"step": "created", "ms": 0.0}, {"step": "received", "ms": 7.5}],
        }
        return {**job, **self.outcomes.get(action, {})}
