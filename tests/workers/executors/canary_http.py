"""The canary case of `http`: a target that says back what it was told in every place an answer has."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.canaries.case import Case, Job, Secret

LARGE = 1_048_576
"""The executor keeps so much of a body: the secret lies across that border."""


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Every kind of credential, every place, and the ways in which a request fails."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as server:
        server.held, server.over = [], threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        base = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield _case(secret, base, server)
        finally:
            server.over.set()  # type: ignore[attr-defined]
            server.shutdown()


def _case(secret: Secret, base: str, server: Any) -> Case:
    def basic(label: str) -> dict[str, Any]:
        return {"baseUrl": base, "authType": "basic", "username": "u", "password": secret(f"http password, {label}")}

    def bearer(label: str) -> dict[str, Any]:
        return {
            "baseUrl": base,
            "token": secret.plain(f"http token, {label}"),
            "note": secret(f"unused field, {label}"),
        }

    places = [
        Job("http.request", {"url": f"/{place}", "followRedirects": follow}, make(place), ends=ends, redacts=redacts)
        for place, follow, ends, make, redacts in (
            ("body", False, "success", basic, True),
            ("json", False, "success", basic, True),
            ("gzip", False, "success", basic, True),
            ("chunks", False, "success", basic, True),
            ("large", False, "success", basic, True),
            ("header", False, "success", bearer, True),
            ("redirect", False, "success", bearer, True),
            ("followed", True, "success", bearer, True),
            ("failure", False, "error", basic, True),
            ("status-line", False, "error", bearer, False),
            ("cut", False, "error", bearer, True),
        )
    ]
    elsewhere = base.replace("127.0.0.1", "localhost")
    key = {"baseUrl": base, "authType": "apiKey", "headerName": "X-Key", "apiKey": secret.plain("http apiKey")}
    other = (
        Job("http.request", {"url": "/body"}, key),
        Job("http.testConnection", {}, basic("test"), redacts=False),
        Job("http.request", {"url": f"{elsewhere}/body"}, bearer("wrong host"), ends="error", redacts=False),
        Job("http.request", {"url": base.replace("http:", "https:")}, bearer("wrong scheme"), ends="error", redacts=False),
        Job("http.request", {"url": "https" + base[4:]}, {**bearer("TLS"), "baseUrl": "https" + base[4:]}, ends="error", redacts=False),
        Job("http.request", {"url": "/body"}, {"baseUrl": base, "token": secret("no header can carry")}, ends="error", redacts=False),
        Job("http.request", {"url": "/failure", "retries": 1, "retryOn": "500"}, basic("retried"), ends="error"),
        Job("http.request", {"url": "/cut", "retries": 1}, bearer("retried and cut"), ends="error"),
        Job("http.request", {}, {
            "baseUrl": "https" + base[4:], "clientCertificate": "none", "clientKey": secret("http clientKey", lines=True),
            "clientKeyPassphrase": secret("http clientKeyPassphrase"),
        }, ends="error", redacts=False),
        Job("http.request", {"url": "/body", "assertions": {"bodyContains": "nowhere"}}, basic("assertion"), ends="error"),
        Job(
            "http.request",
            {
                "url": f"{base}/nothing?key={secret.sent('query')}",
                "headers": {"X-Token": secret.sent("header"), "Cookie": secret.sent("cookie")},
                "body": {"key": secret.sent("body")},
                "method": "POST",
            },
            redacts=False,
        ),
    )  # fmt: skip
    hanging = Job("http.request", {"url": "/hang", "method": "POST"}, bearer("hanging"))
    return Case((*places, *other), hanging, lambda: len(server.held))


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing: the test's own output is searched by nobody."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        place = urllib.parse.urlsplit(self.path).path.strip("/") or "body"
        getattr(self, f"at_{place.replace('-', '_')}")(self._told())

    def _told(self) -> str:
        given = self.headers.get("X-Key") or self.headers.get("Authorization", "").partition(" ")[2]
        try:
            return base64.b64decode(given, validate=True).decode().partition(":")[2] or given
        except ValueError:
            return given

    def at_nothing(self, _told: str) -> None:
        self._answer(b"nothing")

    def at_body(self, told: str) -> None:
        raw = told.encode()
        spelled = [
            told,
            base64.b64encode(raw).decode(),
            raw.hex(),
            urllib.parse.quote(told),
            json.dumps(told),
            repr(told),
        ]
        self._answer("\n".join([*spelled, self.headers.get("Authorization", "")]).encode())

    def at_json(self, told: str) -> None:
        self._answer(
            json.dumps({"seen": [told], told: {"in": {"depth": told}}}).encode(), {"Content-Type": "application/json"}
        )

    def at_gzip(self, told: str) -> None:
        self._answer(gzip.compress(told.encode() * 3), {"Content-Encoding": "gzip"})

    def at_chunks(self, told: str) -> None:
        self._answer(None, {"Transfer-Encoding": "chunked"})
        for byte in b"before " + told.encode() + b" after":
            self.wfile.write(b"1\r\n%c\r\n" % byte)
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def at_large(self, told: str) -> None:
        self._answer(b"x" * (LARGE - 12) + told.encode() + b"y" * 4096)

    def at_header(self, told: str) -> None:
        self._answer(b"see the headers", {"X-Seen": told, "Set-Cookie": f"session={told}; Path=/", told: "a name"})

    def at_redirect(self, told: str) -> None:
        self._answer(b"", {"Location": f"/body?token={told}#{told}"}, status=302)

    def at_followed(self, told: str) -> None:
        self._answer(b"", {"Location": f"/body?token={told}"}, status=307)

    def at_failure(self, told: str) -> None:
        self._answer(f"no access for {told}".encode(), status=500, reason="Refused")

    def at_status_line(self, told: str) -> None:
        self.close_connection = True
        self.wfile.write(f"HTP/9 {told}\r\n{told}\r\n\r\n".encode())

    def at_cut(self, told: str) -> None:
        self.close_connection = True
        self.wfile.write(f"HTTP/1.1 200 {told}\r\nContent-Length: 1000\r\nX: {told}\r\n\r\n{told}".encode())

    def at_hang(self, told: str) -> None:
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + told.encode())
        self.wfile.flush()
        self.server.held.append(told)  # type: ignore[attr-defined]
        self.server.over.wait(60)  # type: ignore[attr-defined]

    def _answer(
        self, body: bytes | None, headers: dict[str, str] | None = None, *, status: int = 200, reason: str = "OK"
    ) -> None:
        self.send_response(status, reason)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)
