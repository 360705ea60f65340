"""Requests that end at the stop, and blocking work that cannot hold the process up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from easyalert.runtime import Stop

T = TypeVar("T")


async def unless_stopped(
    stop: Stop,
    question: Coroutine[Any, Any, T],
    *,
    hear_out_s: float = 0.0,
    obstacle: Coroutine[Any, Any, None] | None = None,
) -> T | None:
    """The answer of `question`; None when the stop came first and `hear_out_s` more seconds did not bring it either.

    The end of `obstacle` counts as the stop. Raises what `question` raises.
    """
    asking = asyncio.ensure_future(question)
    ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(stop.wait())]
    if obstacle is not None:
        ends.append(asyncio.ensure_future(obstacle))
    try:
        await asyncio.wait({asking, *ends}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done() and hear_out_s > 0:
            await asyncio.wait({asking}, timeout=hear_out_s)
        return asking.result() if asking.done() else None
    finally:
        for task in (asking, *ends):
            task.cancel()
        await asyncio.gather(asking, *ends, return_exceptions=True)


async def in_thread(work: Callable[[], T]) -> T:
    """The result of `work`, done in a daemon thread: the interpreter does not wait for one that hangs at its end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(settle: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process is ending
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - carried over to who waits
            deliver(partial(future.set_exception, error))
        else:
            deliver(partial(future.set_result, result))

    threading.Thread(target=run, daemon=True).start()
    return await future
