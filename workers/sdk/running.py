"""Running an action as the worker does: under the job's deadline, every failure turned into a result, once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from easyalert.errors import EasyAlertError, Fault
from workers.sdk.context import Context
from workers.sdk.executor import Executor
from workers.sdk.result import ExecutorResult, failure

log = logging.getLogger(__name__)


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
    except TimeoutError:
        if ctx.remaining() > 0:  # not the deadline: some time-out of the executor's own that it did not explain
            return _unexpected(ctx, TimeoutError())
        return failure(f"timed out after {ctx.timeout_s} seconds", exit_code=-1, fault=None, outcome="timed_out")
    except (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError) as error:  # noqa: BLE001 - see above
        return _unexpected(ctx, error)
    if not isinstance(result, ExecutorResult):
        return failure(f"the executor of {ctx.action_type} returned no result", exit_code=-1, fault=Fault.AGENT)
    return result


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
    async with asyncio.timeout(ctx.remaining()):
        return await executor.run(ctx, name)
