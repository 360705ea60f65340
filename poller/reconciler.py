"""Keeps the Redis queue equal to the journal: whatever Redis lost, or never got, is put back."""

from __future__ import annotations

import logging
import time
from typing import Final

from easyalert.errors import QueueError
from easyalert.journal.pause import local_pause
from poller.parts import Parts

log = logging.getLogger(__name__)

_PART: Final = "queue"
_LOOK_S: Final = 2.0
_AGAIN_S: Final = 0.5
"""A row a worker has just popped and not yet fenced looks missing: only what is missing twice is put back."""


class Reconciler:
    """Also ends rows whose start deadline is over, and has the journal follow a clock that was set."""

    def __init__(self, parts: Parts) -> None:
        self._journal = parts.journal
        self._dispatch = parts.dispatch
        self._condition = parts.condition
        self._stop = parts.stop
        self._missing: set[str] = set()
        self._first = True

    async def run(self) -> None:
        """The loop: at once, then every 2 s. Raises JournalError."""
        while not self._stop.is_set:
            self._follow_clock()
            self._journal.expire()
            try:
                await self._reconcile()
            except QueueError as error:
                self._condition.problem(_PART, str(error))
            else:
                self._condition.solved(_PART)
            await self._stop.wait(_AGAIN_S if self._missing or self._dispatch.failing else _LOOK_S)

    def _follow_clock(self) -> None:
        if step := self._journal.follow_clock():
            log.warning("the clock of this machine was set by %+.0f s; no job is affected", step)

    async def _reconcile(self) -> None:
        standing = await self._dispatch.keys()
        # the journal is read after Redis: a row that was started in between is no longer `queued`
        missing = self._journal.queued_keys() - standing
        lost = missing if self._first else missing & self._missing
        if local_pause(self._journal, time.time()) is not None:
            lost = set()  # no worker may start them; they are put back when the pause ends
        if lost and not self._stop.is_set:
            rows = [row for row in map(self._journal.get, sorted(lost)) if row is not None]
            await self._dispatch.put(rows)
            log.info("put %d jobs into the queue that were only in the journal", len(rows))
        self._first = False
        self._missing = missing - lost
