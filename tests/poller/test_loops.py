from __future__ import annotations

import asyncio

import pytest

from easyalert.errors import JournalError
from easyalert.runtime import Backoff, Stop
from poller.condition import Condition
from poller.loops import keep_running


def run(loop, *, until, well_after_s=5.0):
    """Keep `loop` running until `until(condition)`; answers the condition."""

    async def scenario():
        stop, condition = Stop(), Condition()
        keeping = asyncio.create_task(
            keep_running(
                "test",
                lambda: loop(stop),
                stop=stop,
                condition=condition,
                backoff=Backoff(first=0.001, cap=0.002),
                well_after_s=well_after_s,
            )
        )
        async with asyncio.timeout(5):
            while not until(condition):  # noqa: ASYNC110 - looks at another loop from outside
                await asyncio.sleep(0.001)
            before = condition.note()
            stop.set()
            await keeping
        return before

    return asyncio.run(scenario())


@pytest.mark.parametrize("error", [JournalError("the disk is full"), RuntimeError("a mistake"), OSError("x")])
def test_a_loop_that_fails_is_started_again_and_says_why(error):
    starts = []

    async def loop(stop):
        starts.append(1)
        raise error

    note = run(loop, until=lambda _: len(starts) > 3)
    assert str(error) in note["state"]


def test_an_eternal_loop_that_returns_is_a_problem_too():
    starts = []

    async def loop(stop):
        starts.append(1)

    note = run(loop, until=lambda _: len(starts) > 2)
    assert "without being told" in note["state"]


def test_the_problem_is_over_when_the_loop_runs_again():
    starts = []

    async def loop(stop):
        starts.append(1)
        if len(starts) < 3:
            raise JournalError("locked")
        await stop.wait()

    note = run(loop, until=lambda condition: len(starts) == 3 and condition.note()["state"] == "ok", well_after_s=0.02)
    assert note["lastError"] == "locked"


def test_a_stop_ends_it_even_when_the_loop_does_not_listen():
    async def loop(stop):
        await stop.wait()

    note = run(loop, until=lambda _: True)
    assert note["state"] == "ok"
