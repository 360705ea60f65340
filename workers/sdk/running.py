"""Running an action as the worker does: under the job's deadline, every failure turned into a result, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from easyalert.errors import EasyAlertError, Fault
from workers.sdk.context import Context
from workers.sdk.executor import Executor
from workers.sdk.result import ExecutorResult, failure

log = logging.getLogger(__name__)

_CANCEL_LOOK_S: Final = 0.1
CANCEL_PATIENCE_S: Final = 1.0
"""What an executor that watches `Context.cancelled` gets to end by itself and say what it has so far."""


class _Cancelled(Exception):  # noqa: N818 - not an error: the job was cancelled, and its executor did not notice
    """Takes the place of the result."""


def run_action(loop: asyncio.Runner, executor: Executor, ctx: Context, name: str) -> object:
    """Run the action to its end or the deadline. Raises what the executor raises, and TimeoutError."""
    return loop.run(_within_deadline(executor, ctx, name))


def settled(ctx: Context, work: Callable[[], object]) -> ExecutorResult:
    """The result of `work`. Known errors say what they are by the error tree; anything else is `unexpected`.

    Raises nothing: an executor's mistake of any kind is the job's result, not the worker's end.
    """
    try:
        result = work()
    except EasyAlertError as error:
        return failure(str(error), exit_code=-1, fault=error.fault)
    except (_Cancelled, TimeoutError) as error:
        return _stopped(ctx, error)
    except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001 - see above
        return _unexpected(ctx, error)
    if not isinstance(result, ExecutorResult):
        return failure(f"the executor of {ctx.action_type} returned no result", exit_code=-1, fault=Fault.AGENT)
    return result


def _stopped(ctx: Context, error: _Cancelled | TimeoutError) -> ExecutorResult:
    if isinstance(error, _Cancelled):
        sentence = f"cancelled during {ctx.action_type}; it may have taken effect"
        return failure(sentence, exit_code=-1, fault=None, outcome="cancelled")
    if ctx.remaining() > 0:  # not the deadline: some time-out of the executor's own that it did not explain
        return _unexpected(ctx, TimeoutError())
    return failure(f"timed out after {ctx.timeout_s} seconds", exit_code=-1, fault=None, outcome="timed_out")


def _unexpected(ctx: Context, error: BaseException) -> ExecutorResult:
    # neither the error's text nor its traceback goes to anybody: they may quote parameters
    log.warning("unexpected %s in %s of job %s", type(error).__name__, ctx.action_type, ctx.job_id)
    log.debug("its details", exc_info=error)
    return failure(
        f"unexpected {type(error).__name__} in {ctx.action_type}; the agent's log has it at LOG_LEVEL=DEBUG",
        exit_code=-1,
        fault=Fault.AGENT,
    )


async def _within_deadline(executor: Executor, ctx: Context, name: str) -> ExecutorResult:
    # executors watch the deadline too and say what they have so far; this is for those that wait on something else
    async with asyncio.timeout(ctx.remaining()), _until_cancelled(ctx):
        return await executor.run(ctx, name)


@contextlib.asynccontextmanager
async def _until_cancelled(ctx: Context) -> AsyncIterator[None]:
    """End the body when the job is cancelled and it does not end by itself. Raises _Cancelled then."""
    body = asyncio.current_task()
    if body is None:  # never: this runs in a task
        raise RuntimeError("no task")
    ended = False

    async def watch() -> None:
        nonlocal ended
        while not ctx.cancelled():  # noqa: ASYNC110 - what is asked is another process
            await asyncio.sleep(_CANCEL_LOOK_S)
        await asyncio.sleep(CANCEL_PATIENCE_S)
        ended = True
        body.cancel()

    watching = asyncio.ensure_future(watch())
    try:
        yield
    except asyncio.CancelledError:
        if ended and body.uncancel() == 0:
            raise _Cancelled from None
        raise
    finally:
        watching.cancel()  # not awaited: a body that overran the deadline and has its result would lose it here
