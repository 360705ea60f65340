"""The poller's side of the Redis queue: row keys go in, and what stands in it can be asked.

Redis may be slow or hang; its client blocks. So everything happens in one thread at a time, and `rq` (0.3 s to import)
is loaded there, while the first poll is already under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from easyalert.errors import QueueError
from easyalert.journal import JobRow, NewJob
from easyalert.settings import AgentSettings
from poller.interrupt import in_thread

if TYPE_CHECKING:
    from easyalert.queues import AgentQueue

T = TypeVar("T")


class Dispatch:
    """The queue. Methods raise QueueError; the connection is then made anew (its password may have changed)."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._queue: AgentQueue | None = None
        self._one_at_a_time = asyncio.Lock()
        self.failing: str | None = None
        """The sentence of the last failure; None after a success."""

    async def put(self, rows: Iterable[JobRow | NewJob]) -> None:
        """Let workers find these rows. Doubles are harmless: the start fence lets one through."""
        # what people see in rq-dashboard: never a parameter
        jobs = [(row.key, f"{row.action} {row.job_id}"[:120], row.timeout_s) for row in rows]
        if jobs:
            await self._in_thread(lambda queue: _enqueue(queue, jobs))

    async def keys(self) -> set[str]:
        """Row keys that stand in the queue now."""
        return await self._in_thread(_keys)

    async def _in_thread(self, work: Callable[[AgentQueue], T]) -> T:
        async with self._one_at_a_time:
            try:
                result = await in_thread(lambda: self._with_queue(work))
            except QueueError as error:
                self.failing = str(error)
                raise
            self.failing = None
            return result

    def _with_queue(self, work: Callable[[AgentQueue], T]) -> T:
        from easyalert import queues  # noqa: PLC0415 - see the module's docstring

        if self._queue is None:
            self._queue = queues.agent_queue(queues.connect(self._settings))
        try:
            return work(self._queue)
        except QueueError:
            connection, self._queue = self._queue.connection, None
            connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._queue is not None:
            self._queue.connection.close()
            self._queue = None


def _enqueue(queue: AgentQueue, jobs: Sequence[tuple[str, str, int]]) -> None:
    from easyalert.queues import enqueue  # noqa: PLC0415 - see the module's docstring

    enqueue(queue, jobs)


def _keys(queue: AgentQueue) -> set[str]:
    from easyalert.queues import queued_keys  # noqa: PLC0415 - see the module's docstring

    return queued_keys(queue)
