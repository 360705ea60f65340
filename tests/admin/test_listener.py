import asyncio
import errno
import socket

import pytest

from admin import listener
from admin.listener import a_call, listen
from easyalert.runtime import Stop
from tests.support.ports import free_port


def test_it_is_bound_to_loopback_and_to_nothing_else():
    async def run():
        bound = await listen(free_port(), Stop())
        with bound:
            assert bound.getsockname()[0] == "127.0.0.1"
            assert bound.family == socket.AF_INET

    asyncio.run(run())


def test_a_taken_port_is_said_once_and_waited_for(monkeypatch, caplog):
    monkeypatch.setattr(listener, "RETRY_S", 0.001)

    async def run():
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            waiting = asyncio.create_task(listen(port, Stop()))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        (await asyncio.wait_for(waiting, 5)).close()
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

        monkeypatch.setattr(listener, "_bound", refuse)
        assert await listen(80, stop) is None

    asyncio.run(run())
    assert word in caplog.text


def test_a_call_is_heard_and_left_for_others_to_accept():
    async def run():
        with await listen(free_port(), Stop()) as bound, socket.socket() as caller:
            waiting = asyncio.create_task(a_call(bound, Stop()))
            await asyncio.sleep(0)
            assert not waiting.done()
            caller.connect(bound.getsockname())
            await asyncio.wait_for(waiting, 5)
            accepted, address = bound.accept()
            accepted.close()
            assert address == caller.getsockname()

    asyncio.run(run())


def test_a_stop_ends_the_waiting_for_a_call():
    async def run():
        stop = Stop()
        with await listen(free_port(), stop) as bound:
            waiting = asyncio.create_task(a_call(bound, stop))
            await asyncio.sleep(0)
            stop.set()
            await asyncio.wait_for(waiting, 5)

    asyncio.run(run())
