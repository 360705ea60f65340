"""Ending an action's wait when its job is cancelled, with a sentence that says what may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from workers.sdk.context import Context
from workers.sdk.result import ExecutorResult, failure

_LOOK_S: Final = 0.1

_MARGIN: Final = 0.2
MARGIN_MAX_S: Final = 2.0
"""What is kept of a job's own time for ending its work and saying so."""

CANCEL_SHARE_S: Final = 0.6
"""Of `running.CANCEL_PATIENCE_S`: for ending remote work of a cancelled job, so that its result is still waited for."""

T = TypeVar("T")


def time_for(ctx: Context, wanted: float) -> float:
    """Seconds for the work: `wanted`, but a little less than what the job has left."""
    left = ctx.remaining()
    return max(0.001, min(wanted, left - min(MARGIN_MAX_S, left * _MARGIN)))


def at_the_jobs_limit(ctx: Context) -> bool:
    """Whether work that `time_for` has limited was ended for the job's own limit, which is about to come."""
    return ctx.remaining() <= MARGIN_MAX_S


async def until_cancelled(ctx: Context, work: Awaitable[T]) -> T | None:
    """The result of `work`; None when the job is cancelled: `work` has been cancelled and has ended by then."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_S)
            if ctx.cancelled() and not task.done():
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def cancelled(sentence: str, *, output: object = None) -> ExecutorResult:
    """The result of a cancelled job. `sentence` says what was ended, and what may have taken effect or may run on."""
    return failure(sentence, output=output, exit_code=-1, fault=None, outcome="cancelled")
