from __future__ import annotations

import http.server
import socketserver
import threading
import xmlrpc.client

import pytest

from cli.supervisor_rpc import process_table

ROW = {"name": "poller", "statename": "RUNNING", "pid": 7, "start": 1, "now": 3, "spawnerr": ""}


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    body = b""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def address_string(self):
        return "unix"

    def log_message(self, *_):
        pass


@pytest.fixture
def server(short_dir):
    with Server(str(short_dir / "s"), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_rows(server, short_dir):
    server.body = xmlrpc.client.dumps(([ROW],), methodresponse=True).encode()
    assert process_table(short_dir / "s") == [ROW]


@pytest.mark.parametrize("body", [b"", b"<html>", xmlrpc.client.dumps(xmlrpc.client.Fault(6, "SHUTDOWN")).encode()])
def test_no_usable_answer_is_none(server, short_dir, body):
    server.body = body
    assert process_table(short_dir / "s") is None


def test_nobody_there(short_dir):
    assert process_table(short_dir / "s") is None
    (short_dir / "s").write_text("")
    assert process_table(short_dir / "s") is None
