import asyncio
import socket

import httpx

from admin import server
from admin.listener import listen
from admin.server import serve
from easyalert.runtime import Stop
from tests.admin.conftest import served
from tests.support.ports import free_port


async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


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


def test_unused_it_ends_and_who_comes_then_finds_the_socket_still_open(monkeypatch):
    monkeypatch.setattr(server, "_LOOK_S", 0.05)

    async def run():
        with await listen(free_port(), Stop()) as bound:
            port = bound.getsockname()[1]
            serving = asyncio.create_task(serve(hello, bound.dup(), Stop(), idle_s=0.3))
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(f"http://127.0.0.1:{port}/")).text == "hello"
                # connected, so not unused
                await asyncio.sleep(0.5)
                assert not serving.done()
            await asyncio.wait_for(serving, 5)
            with socket.socket() as late:
                late.connect(("127.0.0.1", port))
                accepted, _ = bound.accept()
                accepted.close()

    asyncio.run(run())


def test_unused_it_stays_while_it_must():
    async def run():
        stop, asked = Stop(), asyncio.Event()

        def may_end():
            asked.set()
            return False

        with await listen(free_port(), stop) as bound:
            serving = asyncio.create_task(serve(hello, bound, stop, idle_s=0.01, may_end=may_end))
            await asyncio.wait_for(asked.wait(), 5)
            await asyncio.sleep(0.05)
            assert not serving.done()
            stop.set()
            await asyncio.wait_for(serving, 5)

    asyncio.run(run())
