from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from chaos.proxy import Proxy, Toxic
from tests.support.waiting import eventually

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Upstream:
    """Answers every request with ANSWER; remembers what it was asked."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # the thread that waits in `accept` would take one more
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.heard += data
                    if self.heard.endswith(b"\r\n\r\n"):
                        connection.sendall(ANSWER)
            except OSError:
                pass


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def proxy(upstream):
    proxy = Proxy(upstream.port)
    yield proxy
    proxy.close()


def connect(proxy: Proxy, timeout: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout)


def ask(connection: socket.socket, size: int = len(ANSWER)) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return receive(connection, size)


def answers(proxy: Proxy) -> bool:
    """Whether a new connection gets its answer; a reset may come as early as its making."""
    try:
        with connect(proxy) as connection:
            return ask(connection) == ANSWER
    except ConnectionError:
        return False


def receive(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := connection.recv(65_536)):
        got += data
    return got


def test_without_a_toxic_everything_passes_both_ways(proxy, upstream):
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        assert ask(connection) == ANSWER
    assert bytes(upstream.heard) == b"GET / HTTP/1.1\r\n\r\n" * 2
    assert proxy.connections == 1


def test_latency_delays_each_chunk(proxy):
    proxy.set(Toxic("latency", 0.1))
    with connect(proxy) as connection:
        began = time.monotonic()
        assert ask(connection) == ANSWER
        assert time.monotonic() - began >= 0.2  # request and answer


def test_bandwidth_lets_so_many_bytes_per_second_through(proxy, upstream):
    proxy.set(Toxic("bandwidth", 20_000))
    with connect(proxy) as connection:
        began = time.monotonic()
        connection.sendall(b"x" * 6_000)
        eventually(lambda: len(upstream.heard) == 6_000, what="all bytes")
        assert time.monotonic() - began >= 0.2


def test_a_reset_ends_living_connections_and_refuses_new_ones(proxy):
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        proxy.set(Toxic("reset"))
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert not answers(proxy)
    proxy.set(None)
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER


def test_nothing_passes_a_black_hole_until_it_ends(proxy, upstream):
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
        before = len(upstream.heard)
        connection.settimeout(0.2)
        proxy.set(Toxic("black_hole"))
        with pytest.raises(TimeoutError):
            ask(connection)
        assert len(upstream.heard) == before
        connection.settimeout(5)
        proxy.set(None)
        assert receive(connection, len(ANSWER)) == ANSWER


def test_new_connections_fall_into_a_black_hole_too(proxy, upstream):
    proxy.set(Toxic("black_hole"))
    with connect(proxy, timeout=0.2) as connection, pytest.raises(TimeoutError):
        ask(connection)
    assert not upstream.heard


def test_after_the_headers_the_answer_is_cut_but_the_request_has_arrived(proxy, upstream):
    proxy.set(Toxic("cut_after_headers"))
    headers = ANSWER[: -len(b"hello")]
    with connect(proxy) as connection:
        assert ask(connection, len(headers)) == headers
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert upstream.heard


def test_slices_change_no_byte(proxy, upstream):
    proxy.set(Toxic("slices"))
    with connect(proxy) as connection:
        assert ask(connection) == ANSWER
    assert bytes(upstream.heard) == b"GET / HTTP/1.1\r\n\r\n"


def test_an_upstream_that_is_gone_is_a_reset(upstream, proxy):
    upstream.close()
    assert not answers(proxy)
