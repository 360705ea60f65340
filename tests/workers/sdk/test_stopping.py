from __future__ import annotations

import asyncio

import pytest

from tests.workers.sdk.test_context import context
from workers.sdk.stopping import cancelled, until_cancelled


def test_the_result_comes_through():
    async def work():
        return 7

    assert asyncio.run(until_cancelled(context(), work())) == 7


def test_what_it_raises_comes_through():
    async def work():
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        asyncio.run(until_cancelled(context(), work()))


def test_a_cancelled_job_ends_the_work_and_waits_for_its_end():
    ended = []

    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("closed")

    assert asyncio.run(until_cancelled(context(cancelled=lambda: True), work())) is None
    assert ended == ["closed"]


def test_the_sentence_and_what_was_printed_are_kept():
    result = cancelled("ended; it may run on", output={"stdout": "so far"})
    assert (result.status, result.exit_code, result.fault, result.outcome) == ("error", -1, None, "cancelled")
    assert result.output == {"stdout": "so far"}
