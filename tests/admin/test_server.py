import asyncio
import errno
import socket

import httpx
import pytest

from admin import server
from admin.server import listen, serve
from easyalert.runtime import Stop
from tests.admin.conftest import served
from tests.support.ports import free_port


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def test_it_is_bound_to_loopback_and_to_nothing_else():
    async def run():
        listener = await listen(free_port(), Stop())
        with listener:
            assert listener.getsockname()[0] == "127.0.0.1"
            assert listener.family == socket.AF_INET

    asyncio.run(run())


def test_a_taken_port_is_said_once_and_waited_for(monkeypatch, caplog):
    monkeypatch.setattr(server, "RETRY_S", 0.001)

    async def run():
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            waiting = asyncio.create_task(listen(port, Stop()))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        listener = await asyncio.wait_for(waiting, 5)
        listener.close()
        return port

    port = asyncio.run(run())
    assert len(caplog.records) == 1
    assert f"port {port}" in caplog.text
    assert "ADMIN_PORT" in caplog.text


def test_a_stop_ends_the_waiting_for_a_port():
    async def run():
        stop = Stop()
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            waiting = asyncio.create_task(listen(holder.getsockname()[1], stop))
            await asyncio.sleep(0.01)
            stop.set()
            assert await asyncio.wait_for(waiting, 2) is None

    asyncio.run(run())


@pytest.mark.parametrize(("number", "word"), [(errno.EACCES, "1024"), (errno.EADDRNOTAVAIL, "cannot be opened")])
def test_other_reasons_have_their_sentence(monkeypatch, caplog, number, word):
    async def run():
        stop = Stop()

        def refuse(_port):
            stop.set()
            raise OSError(number, "reason")

        monkeypatch.setattr(server, "_bound", refuse)
        assert await listen(80, stop) is None

    asyncio.run(run())
    assert word in caplog.text


def test_nobody_can_forge_where_a_request_comes_from():
    seen = {}

    async def look(scope, receive, send):
        seen.update(scope)
        await hello(scope, receive, send)

    port = free_port()
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with served(look, port), httpx.Client(trust_env=False, headers=forged) as client:
        client.get(f"http://127.0.0.1:{port}/")
    assert (seen["client"][0], seen["scheme"]) == ("127.0.0.1", "http")


def test_connections_that_idle_do_not_delay_the_end():
    port = free_port()
    with httpx.Client(trust_env=False) as client, socket.socket() as silent:
        with served(hello, port):
            assert client.get(f"http://127.0.0.1:{port}/").text == "hello"
            silent.connect(("127.0.0.1", port))
            silent.sendall(b"GET / HTT")
        assert silent.recv(100) == b""


def test_a_request_that_hangs_is_cut_off_after_the_grace(monkeypatch):
    monkeypatch.setattr(server, "GRACE_S", 0.05)
    arrived = asyncio.Event()

    async def hang(scope, receive, send):
        arrived.set()
        await asyncio.Event().wait()

    async def run():
        stop, port = Stop(), free_port()
        listener = await listen(port, stop)
        serving = asyncio.create_task(serve(hang, listener, stop))
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await asyncio.wait_for(arrived.wait(), 5)
        stop.set()
        await asyncio.wait_for(serving, 5)
        writer.close()

    asyncio.run(run())
