from __future__ import annotations

import asyncio
import threading

import pytest

from easyalert.runtime import Stop
from poller.interrupt import in_thread, unless_stopped


def test_the_answer_comes_through_and_so_does_the_error():
    async def answer():
        return 7

    async def fail():
        raise ValueError("no")

    async def scenario():
        assert await unless_stopped(Stop(), answer()) == 7
        with pytest.raises(ValueError, match="no"):
            await unless_stopped(Stop(), fail())

    asyncio.run(scenario())


def test_the_stop_cancels_the_question():
    cancelled = []

    async def question():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    async def scenario():
        stop = Stop()
        asyncio.get_running_loop().call_later(0.01, stop.set)
        assert await unless_stopped(stop, question()) is None

    asyncio.run(scenario())
    assert cancelled == [1]


def test_what_may_be_lost_is_heard_out():
    async def question():
        await asyncio.sleep(0.05)
        return "jobs"

    async def scenario():
        stop = Stop()
        asyncio.get_running_loop().call_later(0.01, stop.set)
        assert await unless_stopped(stop, question(), hear_out_s=5) == "jobs"

    asyncio.run(scenario())


def test_cancelling_the_waiting_cancels_the_question():
    ended = []

    async def question():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def scenario():
        waiting = asyncio.create_task(unless_stopped(Stop(), question()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
    assert ended == [1]


def test_blocking_work_is_done_elsewhere():
    async def scenario():
        assert await in_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(KeyError):
            await in_thread(lambda: {}["nothing"])

    asyncio.run(scenario())


def test_hanging_work_does_not_hold_up_the_end():
    release = threading.Event()

    async def scenario():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(in_thread(lambda: release.wait(30)), 0.02)

    asyncio.run(scenario())
    release.set()


def test_an_obstacle_ends_the_question_as_the_stop_does():
    async def obstacle():
        await asyncio.sleep(0.01)

    async def scenario():
        stop = Stop()
        assert await unless_stopped(stop, asyncio.sleep(60), obstacle=obstacle()) is None
        assert not stop.is_set

    asyncio.run(scenario())
