"""The HTTP server under the control planes and gateways of tests: knows its connections, answers in whole and in part."""

from __future__ import annotations

import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.faults import Cut, Status


class Listener(ThreadingHTTPServer):
    """Threads, and a list of who is connected."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[Handler], owner: Any) -> None:
        super().__init__(address, handler)
        self.owner = owner
        self.connections: set[socket.socket] = set()
        self.made = 0
        """TCP connections accepted so far."""

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        self.made += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is normal here."""


class Handler(BaseHTTPRequestHandler):
    """Silent; what is answered is the subclasses' to say."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def serve(self, body: bytes) -> None:
        """Answer one request."""
        raise AssertionError("a subclass answers")

    def do_GET(self) -> None:
        self.serve(b"")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:  # hung up in the middle: no request, and no breach of the contract
            self.close_connection = True
            return
        self.serve(body)

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def send(self, answer: Status) -> None:
        self.send_response(answer.code)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def cut(self, fault: Cut) -> None:
        """Hang up where `fault` says."""
        self.close_connection = True
        if fault.at == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        if fault.at == "body":
            self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"data":')
