"""A blocking session under the eyes of the job: ended on the server when the job is cancelled or out of time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from workers.sdk.context import Context, Stopped
from workers.sdk.database_session import DatabaseFault

_LOOK_S: Final = 0.1
_PATIENCE_S: Final[dict[Stopped, float]] = {"cancelled": 0.6, "timed_out": 1.5}
"""Between asking the server to end a statement and cutting the connection. The worker gives a cancelled job 1 s."""
_WAKE_S: Final = 0.2


class Endable(Protocol):
    """What blocks. The three are for other threads, at any time."""

    stopping: threading.Event

    def cancel(self) -> None:
        """Ask the server to end what runs."""

    def abort(self) -> None:
        """Cut the connection."""


@dataclass(frozen=True)
class Ending:
    """How it went."""

    error: BaseException | None = None
    stopped: Stopped | None = None
    confirmed: bool = False
    """Stopped, and the server has said that the statement is over."""


async def watched(ctx: Context, session: Endable, work: Callable[[], None], limit_s: float) -> Ending:
    """Run `work` on the session in a thread of its own, for at most `limit_s` seconds or until the job is cancelled.

    The thread is a daemon: one that hangs in a driver does not keep the process. Raises nothing but CancelledError.
    """
    deadline = ctx.clock() + limit_s
    running = _in_thread(work)
    try:
        stopped: Stopped | None = None
        while not running.done() and stopped is None:
            await asyncio.wait({running}, timeout=max(0.001, min(_LOOK_S, deadline - ctx.clock())))
            if not running.done():
                stopped = "cancelled" if ctx.cancelled() else "timed_out" if ctx.clock() >= deadline else None
        if stopped is None:
            return Ending(running.exception())
        return await _ended(session, running, stopped)
    finally:
        if not running.done():  # the job's own limit struck, or the driver does not wake
            session.stopping.set()
            session.abort()


async def _ended(session: Endable, running: asyncio.Future[None], stopped: Stopped) -> Ending:
    session.stopping.set()
    asked = _in_thread(session.cancel)
    await asyncio.wait({running}, timeout=_PATIENCE_S[stopped])
    if not running.done():
        session.abort()
        await asyncio.wait({running}, timeout=_WAKE_S)
    if asked.done():
        asked.exception()  # looked at, so that nobody logs it: what counts is how the statement ended
    else:
        asked.add_done_callback(lambda done: done.exception())
    if not running.done():
        running.add_done_callback(lambda done: done.exception())
        return Ending(stopped=stopped)
    error = running.exception()
    if error is None:
        return Ending()  # it was faster
    confirmed = isinstance(error, DatabaseFault) and error.problem.kind == "ended"
    return Ending(error, stopped, confirmed)


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle(error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            failed = error
        try:
            loop.call_soon_threadsafe(settle, failed)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=run, daemon=True, name="database").start()
    return future
