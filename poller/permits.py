"""Acknowledgement (feature ack): the control plane's permit, asked for a whole batch, before any of it may start.

Unanswered questions are repeated; only an answer starts or drops a job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from easyalert import crashpoints
from easyalert.errors import ControlPlaneError, KeyInUse, QueueError, RateLimited, Unauthorized
from easyalert.journal import JobRow
from easyalert.journal.pause import local_pause
from easyalert.protocol import features
from easyalert.protocol.messages import AckItem, AckRequest
from easyalert.runtime import Backoff
from poller.bell import Bell
from poller.interrupt import unless_stopped
from poller.parts import Parts

log = logging.getLogger(__name__)

_PART: Final = "acknowledgement"
_LOOK_S: Final = 2.0
_BATCH: Final = 200


class Permits:
    """Turns `taken` rows into `queued` ones, or drops them."""

    def __init__(
        self,
        parts: Parts,
        *,
        bell: Bell,
        taken: asyncio.Event,
    ) -> None:
        self._client = parts.client
        self._journal = parts.journal
        self._session = parts.session
        self._dispatch = parts.dispatch
        self._condition = parts.condition
        self._stop = parts.stop
        self._taken = taken
        self._bell = bell
        self._backoff = Backoff(first=0.2, cap=5)

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        while not self._stop.is_set:
            if not self._session.taking.is_set():
                await self._stop.wait(None, self._session.taking)
                continue
            self._taken.clear()
            # paused here: what was taken and not permitted goes back to the control plane with its lease
            rows = [] if local_pause(self._journal, time.time()) else self._journal.unacknowledged()
            pause = await self._settle(rows[:_BATCH]) if rows else _LOOK_S
            if pause is not None:
                await self._stop.wait(pause, self._taken) if not rows else await self._stop.wait(pause)

    async def _settle(self, rows: Sequence[JobRow]) -> float | None:
        """Ask about these rows; the seconds to wait before asking again, None: go on at once."""
        registration = self._session.current
        if not registration.has(features.ACK):
            # left over from a control plane that gave permits; this one cannot, and may hand them out itself
            self._journal.acknowledge((), [row.key for row in rows])
            self._bell.set()
            return None
        items = [AckItem(job_id=row.job_id, attempt=row.attempt or 1) for row in rows]
        try:
            question = self._client.acknowledge(AckRequest(agent_id=registration.agent_id, jobs=items))
            answer = await unless_stopped(self._stop, question)
        except Unauthorized as error:
            self._condition.problem(_PART, str(error))
            self._session.lost()
            return self._backoff.next()
        except KeyInUse:  # said by the registration, which is tried next
            self._session.superseded()
            return None
        except ControlPlaneError as error:
            self._condition.problem(_PART, str(error))
            asked = error.retry_after if isinstance(error, RateLimited) else self._client.breaker.seconds_left()
            return max(self._backoff.next(), asked)
        if answer is None:
            return None
        self._condition.solved(_PART)
        accepted = {(item.job_id, item.attempt) for item in answer.accepted}
        refused = {(item.job_id, item.attempt): item.reason for item in answer.refused}
        return await self._answered(rows, accepted, refused)

    async def _answered(
        self, rows: Sequence[JobRow], accepted: set[tuple[str, int]], refused: dict[tuple[str, int], str]
    ) -> float | None:
        permitted = [row for row in rows if (row.job_id, row.attempt or 1) in accepted]
        dropped = [row for row in rows if (row.job_id, row.attempt or 1) in refused]
        for row in dropped:
            log.info("job %s is not ours to run: %s", row.description, refused[row.job_id, row.attempt or 1][:100])
        crashpoints.reached("permitted")
        self._journal.acknowledge([row.key for row in permitted], [row.key for row in dropped])
        crashpoints.reached("queued")
        if dropped:
            self._bell.set()
        if permitted and not self._stop.is_set:
            try:
                await self._dispatch.put(permitted)
            except QueueError as error:
                self._condition.problem("queue", str(error))
        if len(permitted) + len(dropped) < len(rows):
            return self._backoff.next()  # some were not answered for
        self._backoff.reset()
        return None
