"""A library that blocks, in a thread of its own, under the eyes of the job: its sockets are dialled and cut here.

The thread is a daemon, its sockets go to judged addresses (`workers.sdk.dialing`), and when the job is cancelled or out
of time they are cut: whatever the library waits for ends at once, and it gets no new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Final, TypeVar

from workers.sdk.context import Context, Stopped
from workers.sdk.dialing import dial
from workers.sdk.steps import Steps

CONNECT_S: Final = 10.0
_LOOK_S: Final = 0.1
_ENDING_S: Final = 1.0

T = TypeVar("T")


class Ended(Exception):  # noqa: N818 - not an error: the job is over
    """The action has to end: `why`. Raised inside the thread."""

    def __init__(self, why: Stopped) -> None:
        super().__init__(why)
        self.why: Stopped = why


class Blocking:
    """One job's connections to one host and port. Everything but `run` is called in threads, and blocks."""

    def __init__(
        self, ctx: Context, host: str, port: int, limit_s: float, *, name: str, while_cancelled: bool = False
    ) -> None:
        """`limit_s`: for all that is done. `name`: of the thread.

        `while_cancelled`: this is what is done because the job is cancelled, so that does not end it.
        """
        self.steps = Steps()
        self._ctx = ctx
        self._place = (host, port)
        self._name = name
        self._while_cancelled = while_cancelled
        self._deadline = ctx.clock() + limit_s
        self._why: Stopped | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._dialling: set[Future[socket.socket]] = set()
        self._loop = asyncio.get_running_loop()

    async def run(self, work: Callable[[], T], tick: Callable[[], None] = lambda: None) -> T:
        """What `work` returns, done in a thread; `tick` is called meanwhile, a few times a second.

        Raises what `work` raises, and Ended after time-out or cancel.
        """
        running = _in_thread(self._loop, work, self._name)
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK_S)
                tick()
                if not running.done() and (why := self._stopped()):
                    self.end(why)
                    await asyncio.wait({running}, timeout=_ENDING_S)
                    break
            if running.done():
                return running.result()
            raise Ended(self._why or "timed_out")
        finally:
            self.end("timed_out")
            if not running.done():
                running.add_done_callback(lambda done: done.cancelled() or done.exception())
            self.close()

    def close(self) -> None:
        """Let go what the library keeps; overridden."""

    def end(self, why: Stopped) -> None:
        """Cut every connection; what the other side was asked for goes on."""
        with self._lock:
            self._why = self._why or why
            self._over.set()
            for one in self._sockets:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self._sockets.clear()
            for pending in tuple(self._dialling):
                pending.cancel()

    def _stopped(self) -> Stopped | None:
        if self._ctx.cancelled() and not self._while_cancelled:
            return "cancelled"
        return "timed_out" if self._ctx.clock() >= self._deadline else None

    # ---- in threads -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises Ended when the job is over."""
        if self._over.is_set():
            raise Ended(self._why or "timed_out")

    def remaining(self) -> float:
        """Seconds left for this action."""
        return max(0.0, self._deadline - self._ctx.clock())

    def pause(self, seconds: float) -> None:
        """Wait. Raises Ended when the job is over before."""
        if self._over.wait(seconds):
            raise Ended(self._why or "timed_out")

    def connected(self) -> socket.socket:
        """A socket to a judged address of the host, blocking. Raises as `dial`, and Ended."""
        work = dial(self._ctx, *self._place, timeout=CONNECT_S, steps=self.steps)
        with self._lock:
            if self._over.is_set():
                work.close()
                self.check()
            dialled = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._dialling.add(dialled)
        try:
            made = dialled.result()
        except (TimeoutError, CancelledError):
            raise Ended(self._why or "timed_out") from None
        finally:
            self._dialling.discard(dialled)
        made.settimeout(max(0.001, self.remaining()))
        with self._lock:
            if self._over.is_set():
                made.close()
                self.check()
            self._sockets.append(made.dup())  # the other end of `end`: TLS takes the descriptor over
        return made


def _in_thread(loop: asyncio.AbstractEventLoop, work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """A daemon: one that hangs does not keep the process."""
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]  # None only where T has it
        else:
            future.set_exception(error)

    def body() -> None:
        result: T | None = None
        failed: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=body, daemon=True, name=name).start()
    return future
