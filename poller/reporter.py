"""The outbox: finished rows go to the control plane at once, in small batches, and leave only on an answer for them.

What the answer means::

    2xx, plain server       every result of the batch is delivered
    2xx with receipts       accepted, duplicate: delivered; rejected: set aside with the reason; not named: tried again
    400, 413, 422           for good: the batch is halved down to the one result, which is set aside
    401, 403                registered anew first, then as below
    anything else           kept for ever; tried again after a pause, one by one, so that none holds up the rest
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from easyalert import crashpoints
from easyalert.errors import ControlPlaneError, JournalFull, RateLimited, Refused, Unauthorized
from easyalert.journal import JobRow
from easyalert.journal.rows import OUTBOX
from easyalert.protocol import features
from easyalert.protocol.messages import ResultsData
from easyalert.runtime import Backoff
from poller.parts import Parts
from poller.results import Report, report_of
from poller.session import Registration

log = logging.getLogger(__name__)

_PART: Final = "reporting"
_LOOK_S: Final = 2.0
_PLAIN_BATCH: Final = 10
"""Small, because a plain server's answer is one word for the whole batch."""
_BATCH: Final = 20
_BATCH_BYTES: Final = 1_000_000
_PERMANENT: Final = frozenset({400, 413, 422})
_DEFER_FIRST_S: Final = 2.0
_DEFER_CAP_S: Final = 15.0
_DEFERRED_MAX: Final = 20


class Reporter:
    """Delivers results until `end` is set, which is later than the stop: workers may still be finishing."""

    def __init__(
        self,
        parts: Parts,
        finished: asyncio.Event,
    ) -> None:
        self._client = parts.client
        self._journal = parts.journal
        self._session = parts.session
        self._condition = parts.condition
        self._end = parts.end
        self._asked_again = parts.asked_again
        self._finished = finished
        self._backoff = Backoff(first=1, cap=8)
        self._width = _BATCH
        self._deferred: dict[str, tuple[Backoff, float]] = {}
        """Rows that failed alone: their pauses, and when they may be tried again (loop time)."""
        self._tried_again = False
        self._delivered: set[str] = set()
        """Answered for, but not yet marked so in the journal: never sent again by this process."""

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        while not self._end.is_set:
            if not self._session.ready.is_set():
                await self._end.wait(None, self._session.ready)
                continue
            left = self._client.breaker.seconds_left()
            if left > 0:
                await self._end.wait(left)
                continue
            self._finished.clear()
            self._mark_delivered(())
            batch = self._next_batch(self._session.current)
            if batch:
                await self._deliver(batch, self._session.current)
            else:
                await self._end.wait(self._until_due(), self._finished)

    def _next_batch(self, registration: Registration) -> list[Report]:
        """What to send now: rows that have not failed first, then one that has and is due again, by turns."""
        receipts = registration.has(features.RECEIPTS)
        due = self._due()
        if due is not None and not self._tried_again:
            self._tried_again = True
            return self._reports([due], receipts=receipts)
        width = min(self._width, _BATCH if receipts else _PLAIN_BATCH)
        passed_over = self._deferred.keys() | self._delivered
        keys = self._journal.unreported_keys(width + len(passed_over))
        fresh = [key for key in keys if key not in passed_over][:width]
        self._tried_again = False
        return self._reports(fresh or ([] if due is None else [due]), receipts=receipts)

    def _due(self) -> str | None:
        now = asyncio.get_running_loop().time()
        for key, (_, again) in list(self._deferred.items()):
            if again <= now:
                if self._waiting(key) is not None:
                    return key
                del self._deferred[key]
        return None

    def _until_due(self) -> float:
        now = asyncio.get_running_loop().time()
        return max(0.0, min([_LOOK_S, *(again - now for _, again in self._deferred.values())]))

    def _waiting(self, key: str) -> JobRow | None:
        row = self._journal.get(key)
        return row if row is not None and row.state in OUTBOX else None

    def _reports(self, keys: Sequence[str], *, receipts: bool) -> list[Report]:
        """Read one by one: a result may be many megabytes, and most of the outbox may not fit into this batch."""
        batch: list[Report] = []
        size = 0
        for key in keys:
            row = self._waiting(key)
            if row is None:
                continue
            report = report_of(row, receipts=receipts)
            if report is None:
                self._journal.mark_rejected(row.key, "the result cannot be written as JSON")
                continue
            size += len(report.body)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(report)
            self._asked_again.discard(row.key)
        return batch

    async def _deliver(self, batch: Sequence[Report], registration: Registration) -> None:
        """Send a batch; where it is refused for good, its halves, down to the single result."""
        waiting = deque([batch])
        while waiting and not self._end.is_set:
            reports = waiting.popleft()
            crashpoints.reached("reporting")
            try:
                answer = await self._client.report(
                    [report.body for report in reports], receipts=registration.has(features.RECEIPTS)
                )
            except Refused as error:
                if error.status not in _PERMANENT:
                    await self._failed(reports, error)
                    return
                self._client_is_heard()
                if len(reports) > 1:
                    half = len(reports) // 2
                    waiting.extendleft((reports[half:], reports[:half]))
                else:
                    self._set_aside(reports[0], f"the control plane refused this result for good (HTTP {error.status})")
            except Unauthorized as error:
                # perhaps the key, perhaps a firewall that dislikes this one result: a pause either way
                self._session.lost()
                await self._failed(reports, error)
                return
            except ControlPlaneError as error:
                await self._failed(reports, error)
                return
            else:
                crashpoints.reached("answered")
                self._client_is_heard()
                self._width = min(_BATCH, self._width * 2)
                self._settle(reports, answer)

    def _client_is_heard(self) -> None:
        self._backoff.reset()
        self._condition.solved(_PART)

    async def _failed(self, reports: Sequence[Report], error: ControlPlaneError) -> None:
        """Nothing is lost, nothing is decided: smaller next time, later next time."""
        self._condition.problem(_PART, str(error))
        self._width = 1
        if len(reports) == 1:
            self._defer(reports[0])
        asked = error.retry_after if isinstance(error, RateLimited) else self._client.breaker.seconds_left()
        await self._end.wait(max(self._backoff.next(), asked))

    def _defer(self, report: Report) -> None:
        pauses, _ = self._deferred.pop(report.row.key, (Backoff(_DEFER_FIRST_S, _DEFER_CAP_S), 0.0))
        self._deferred[report.row.key] = (pauses, asyncio.get_running_loop().time() + pauses.next())
        if len(self._deferred) > _DEFERRED_MAX:  # so many: it is the control plane, not these results
            del self._deferred[next(iter(self._deferred))]

    def _settle(self, reports: Sequence[Report], answer: ResultsData | None) -> None:
        if answer is None:
            self._mark_delivered(report.row.key for report in reports)
            return
        fates = {(receipt.job_id, receipt.attempt): receipt for receipt in answer.results}
        delivered = []
        for report in reports:
            row = report.row
            receipt = fates.get((row.job_id, row.attempt)) or fates.get((row.job_id, None))
            if receipt is None:
                self._condition.problem(_PART, "the control plane's receipts leave out results; they are sent again")
                self._defer(report)
            elif receipt.receipt == "rejected":
                self._set_aside(report, receipt.reason or "the control plane rejected this result without a reason")
            else:
                delivered.append(row.key)
        self._mark_delivered(delivered)

    def _mark_delivered(self, keys: Iterable[str]) -> None:
        self._delivered.update(keys)
        self._delivered -= self._asked_again
        for key in self._delivered:
            self._deferred.pop(key, None)
        if self._delivered:
            # a full disk must not hold up the delivery of the others; marked when there is space again
            with contextlib.suppress(JournalFull):
                self._journal.mark_reported(self._delivered)
                self._delivered.clear()

    def _set_aside(self, report: Report, reason: str) -> None:
        self._journal.mark_rejected(report.row.key, reason)
        self._deferred.pop(report.row.key, None)
        log.error(
            "the result of job %s was not taken: %s; it is set aside: easyalert-agent jobs --rejected",
            report.row.description,
            reason,
        )
