"""Polling: asks for as many jobs as there are free workers, and journals what comes before anything else happens.

Adaptive: at once again after work; a long poll where the server offers it; else POLL_INTERVAL with jitter, cut short by
a worker that becomes free. Nothing is asked while no worker is free, the brake is on or the agent is paused, here or by
its control plane. A plain server may still send more than was wanted: the rest waits in the journal.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

from easyalert import crashpoints
from easyalert.errors import ControlPlaneError, JournalError, KeyInUse, QueueError, RateLimited, Unauthorized
from easyalert.journal import NewJob
from easyalert.journal.pause import ordered_poll_interval, pause_now
from easyalert.journal.store import Disposition
from easyalert.protocol import features
from easyalert.runtime import Backoff
from easyalert.sealing import PublicKey
from poller.bell import Bell
from poller.brake import Brake
from poller.intake import read_jobs
from poller.interrupt import unless_stopped
from poller.parts import Parts
from poller.session import Registration

log = logging.getLogger(__name__)

_PART: Final = "polling"
_NO_SLOT_LOOK_S: Final = 1.0
_BRAKE_LOOK_S: Final = 2.0
_EMPTY_SPACING_S: Final = 0.25
"""The least time between two empty polls: many short jobs ending at once must not become a storm of requests."""
LAST_PLAIN_POLL_S: Final = 5.0


class Polling:
    """Takes jobs. `taken` is set whenever rows wait for their permit."""

    def __init__(
        self,
        parts: Parts,
        *,
        brake: Brake,
        key: PublicKey,
        bell: Bell,
        taken: asyncio.Event,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._holding = parts.holding
        self._settings = parts.settings
        self._client = parts.client
        self._journal = parts.journal
        self._session = parts.session
        self._dispatch = parts.dispatch
        self._condition = parts.condition
        self._stop = parts.stop
        self._asked_again = parts.asked_again
        self._brake = brake
        self._key = key
        self._bell = bell
        self._freed = bell.listener()
        self._rung = bell.listener()
        self._taken = taken
        self._backoff = Backoff(first=1, cap=8)

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        while not self._stop.is_set:
            if not self._session.taking.is_set():
                await self._stop.wait(None, self._session.taking)
                continue
            self._freed.clear()
            self._rung.clear()
            reason = self._pause_reason()
            self._condition.paused(reason)
            if reason is not None:
                await self._stop.wait(_BRAKE_LOOK_S, self._freed)
                continue
            slots = self._settings.max_concurrent_jobs - self._journal.unsettled()
            if slots <= 0:
                await self._stop.wait(_NO_SLOT_LOOK_S, self._freed)
                continue
            await self._poll(slots)

    def _pause_reason(self) -> str | None:
        pause = pause_now(self._journal, self._clock())
        if pause is not None:
            return pause.sentence
        failing = self._dispatch.failing
        if failing is not None:
            return f"{failing}; jobs are taken again as soon as it answers"
        return self._brake.reason()

    async def _poll(self, slots: int) -> None:
        """One poll, then the wait that fits its outcome."""
        registration = self._session.current
        began = asyncio.get_running_loop().time()
        # after a failure first a short question: a long one would be a probe that takes 25 s to say yes
        wait = 0 if self._backoff.failures or not self._client.breaker.closed else registration.long_poll_s
        try:
            entries = await self._ask(registration, wait, slots)
        except Unauthorized as error:
            self._condition.problem(_PART, str(error))
            self._session.lost()
        except RateLimited as error:
            self._condition.problem(_PART, str(error))
            await self._stop.wait(max(error.retry_after, self._backoff.next()))
        except KeyInUse:  # said by the registration, which is tried next
            self._session.superseded()
        except ControlPlaneError as error:
            self._condition.problem(_PART, str(error))
            if error.status == HTTPStatus.CONFLICT:  # the key belongs to another agent id by now
                self._session.lost()
            await self._stop.wait(max(self._backoff.next(), self._client.breaker.seconds_left()))
        else:
            if entries is None:
                return
            after_failure = self._backoff.failures > 0
            self._answered()
            if entries:
                await self._take(entries, registration)
            elif not after_failure and not self._stop.is_set:
                await self._idle(registration, waited=asyncio.get_running_loop().time() - began, wanted=wait)

    def _answered(self) -> None:
        self._backoff.reset()
        self._session.confirmed()
        self._condition.solved(_PART)
        self._condition.polled()

    async def _ask(self, registration: Registration, wait: int, slots: int) -> list[Any] | None:
        """The request, given up (None) at the stop, and where nothing can be lost by it also at a pause."""
        if registration.has(features.LONG_POLL):
            question = self._client.poll(registration.agent_id, wait=wait, slots=slots)
        else:
            question = self._client.poll(registration.agent_id)
        # without permits the server has perhaps handed jobs out already and will not do so again: hear it out
        if not registration.has(features.ACK):
            return await unless_stopped(self._stop, question, hear_out_s=LAST_PLAIN_POLL_S)
        return await unless_stopped(self._stop, question, obstacle=self._paused_meanwhile())

    async def _paused_meanwhile(self) -> None:
        while not await self._stop.wait(_BRAKE_LOOK_S, self._rung):
            self._rung.clear()
            if pause_now(self._journal, self._clock()) is not None or self._brake.reason() is not None:
                return

    async def _take(self, entries: Sequence[Any], registration: Registration) -> None:
        if registration.has(features.ACK) and self._brake.reason(afresh=True) is not None:
            return  # without a permit asked for, they are given to somebody else
        jobs = read_jobs(
            entries, key=self._key, extended=bool(registration.features), ack=registration.has(features.ACK)
        )
        crashpoints.reached("offered")
        taken = await self._journalled(jobs) if jobs else []
        crashpoints.reached("journalled")
        self._holding.set()
        self._asked_again.update(job.key for job, found in taken if found == "answered")
        if any(found == "answered" or job.refusal for job, found in taken):
            self._bell.set()  # there is something to report
        if any(job.needs_ack for job, _ in taken):
            self._taken.set()
        startable = [job for job, found in taken if found == "new" and not job.needs_ack and not job.refusal]
        if not startable or self._stop.is_set:
            return  # at the stop the workers end too; the rows are enqueued at the next start
        try:
            await self._dispatch.put(startable)
        except QueueError as error:
            self._condition.problem("queue", str(error))

    async def _journalled(self, jobs: Sequence[NewJob]) -> list[tuple[NewJob, Disposition]]:
        """Write them, whatever it takes: a plain server does not send them again."""
        backoff = Backoff(first=0.2, cap=5)
        while True:
            try:
                taken = self._journal.take(jobs)
            except JournalError as error:
                self._condition.problem(_PART, str(error))
                if await self._stop.wait(backoff.next()):
                    log.error("stopped while %d jobs could not be journalled", len(jobs))  # noqa: TRY400 - said above
                    return []
            else:
                known = sum(found != "new" for _, found in taken)
                log.info("took %d jobs%s", len(taken) - known, f", {known} more were known already" if known else "")
                return taken

    async def _idle(self, registration: Registration, *, waited: float, wanted: int) -> None:
        """Nothing to do. A long poll that was waited for is followed by the next one."""
        if wanted and waited >= wanted / 2:
            return
        wanted_s = ordered_poll_interval(self._journal) or self._settings.poll_interval
        interval = wanted_s * (0.9 + 0.2 * random.random())  # noqa: S311 - jitter
        if registration.long_poll_s:  # answered empty before its time
            interval = min(interval, 1.0)
        if not await self._stop.wait(_EMPTY_SPACING_S):
            await self._stop.wait(max(0.0, interval - _EMPTY_SPACING_S), self._freed)
