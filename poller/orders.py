"""Jobs to cancel (feature cancel): heard in a poll of their own while this agent holds jobs, also when it takes none.

The same list comes with the answers to heartbeats, whose process leaves it in the note `control`. Each request is
written into the journal, which ends what has not started and marks what runs; then the workers are woken.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from easyalert import wakeup
from easyalert.errors import ControlPlaneError, KeyInUse, RateLimited, Unauthorized
from easyalert.journal import job_key
from easyalert.journal.pause import CONTROL_NOTE
from easyalert.protocol import features
from easyalert.runtime import Backoff
from poller.bell import Bell
from poller.interrupt import unless_stopped
from poller.parts import Parts
from poller.session import Registration

log = logging.getLogger(__name__)

BY: Final = "the control plane"
_PART: Final = "cancellation"
_LOOK_S: Final = 2.0
_AGAIN_S: Final = 0.5
"""Between two answers that say nothing new: orders are repeated until the result of the job is there."""
_NO_LONG_POLL_S: Final = 1.0


class Orders:
    """The loop that listens, and applies what it hears."""

    def __init__(self, parts: Parts, *, bell: Bell) -> None:
        self._settings = parts.settings
        self._client = parts.client
        self._journal = parts.journal
        self._session = parts.session
        self._condition = parts.condition
        self._stop = parts.stop
        self._holding = parts.holding
        self._bell = bell
        self._rung = bell.listener()
        self._backoff = Backoff(first=0.5, cap=8)

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        while not self._stop.is_set:
            self._rung.clear()
            self._holding.clear()
            self._apply(_noted(self._journal.note(CONTROL_NOTE)))
            if self._can_listen() and self._journal.unsettled():
                await self._listen(self._session.current)
            else:
                self._condition.solved(_PART)  # nothing has to be heard
                await self._stop.wait(_LOOK_S, self._rung, self._holding)

    def _can_listen(self) -> bool:
        return self._session.taking.is_set() and self._session.current.has(features.CANCEL)

    async def _listen(self, registration: Registration) -> None:
        began = asyncio.get_running_loop().time()
        wait = 0 if self._backoff.failures or not self._client.breaker.closed else registration.long_poll_s
        try:
            answer = await unless_stopped(self._stop, self._client.orders(registration.agent_id, wait=wait))
        except KeyInUse:  # said by the registration, which is tried next
            self._session.superseded()
            return
        except ControlPlaneError as error:
            self._condition.problem(_PART, str(error))
            if isinstance(error, Unauthorized):
                self._session.lost()
            asked = error.retry_after if isinstance(error, RateLimited) else self._client.breaker.seconds_left()
            await self._stop.wait(max(self._backoff.next(), asked))
            return
        if answer is None:
            return
        self._backoff.reset()
        self._condition.solved(_PART)
        if self._apply((item.job_id, item.attempt) for item in answer.cancel_jobs):
            return
        spacing = _AGAIN_S if wait else _NO_LONG_POLL_S
        await self._stop.wait(max(0.0, spacing - (asyncio.get_running_loop().time() - began)))

    def _apply(self, wanted: Iterable[tuple[str, int]]) -> bool:
        """True when something was new."""
        found = {self._cancel(job_id, attempt) for job_id, attempt in wanted}
        if "marked" in found:
            wakeup.notify(self._settings.workers_socket)
        if "cancelled" in found:
            self._bell.set()  # there is something to report, and a slot is free
        return bool(found & {"marked", "cancelled"})

    def _cancel(self, job_id: str, attempt: int) -> str | None:
        fate = self._journal.cancel(job_key(job_id, attempt), BY)
        if fate in {"marked", "cancelled"}:
            log.info(
                "job %s is to be cancelled: %s", job_id, "it had not started" if fate == "cancelled" else "it runs"
            )
        return fate


def _noted(note: Any) -> list[tuple[str, int]]:
    listed = note.get("cancelJobs") if isinstance(note, dict) else None
    return [
        (item["jobId"], item["attempt"])
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict) and isinstance(item.get("jobId"), str) and type(item.get("attempt")) is int
    ]
