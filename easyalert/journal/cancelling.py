"""Requests to cancel a job: the end of one that has not started, a durable mark for the worker of one that has.

A request races with the job's end; each is one compare-and-set of the row's state, so exactly one of them happens. A
mark is only a wish: what the worker then records is the outcome, success included.
"""

from __future__ import annotations

from typing import Final, Literal

from easyalert.journal.file import JournalFile
from easyalert.journal.rows import JobRow, State
from easyalert.protocol.results import ended_without_result

Asked = Literal["cancelled", "marked", "known", "ended"]
"""What a request found: not started, and now over; running, now marked; running and marked before; over before."""

_BY_MAX_CHARS: Final = 200


class CancelRequests(JournalFile):
    """Raises JournalError."""

    def cancel(self, key: str, by: str) -> Asked | None:
        """Somebody (`by`, for people) wants the job ended. None: no such row."""
        by = by[:_BY_MAX_CHARS].encode("utf-8", "replace").decode()
        return self._surely(lambda: self._cancel(key, by))

    def _cancel(self, key: str, by: str) -> Asked | None:
        with self._transaction():
            row = self.get(key)
            if row is None:
                return None
            found = self._cancelled(row, by)
            if found in {"cancelled", "marked"}:
                self._audit("job.cancel", {"jobId": row.job_id, "attempt": row.attempt, "by": by, "found": found})
            return found

    def _cancelled(self, row: JobRow, by: str) -> Asked:
        if row.state in {State.TAKEN, State.QUEUED}:
            self._end_cancelled(row, row.state, by)
            self._mark(row.key, by)
            return "cancelled"
        if row.state is not State.STARTED:
            return "ended"
        return "marked" if self._mark(row.key, by) else "known"

    def cancel_requests(self) -> list[JobRow]:
        """Running jobs whose workers are to end them."""
        return self._rows("state = 'started' AND cancel_at IS NOT NULL ORDER BY cancel_at")

    def asked_to_cancel(self, key: str) -> str | None:
        """Who wants this job ended; None: nobody."""
        with self._errors():
            found = self._db.execute("SELECT cancel_by FROM jobs WHERE key = ?", (key,)).fetchone()
        return None if found is None or found[0] is None else str(found[0])

    def _mark(self, key: str, by: str) -> bool:
        marked = self._db.execute(
            "UPDATE jobs SET cancel_by = ?, cancel_at = ? WHERE key = ? AND cancel_at IS NULL",
            (by, self._wall(), key),
        ).rowcount
        return bool(marked)

    def _end_cancelled(self, row: JobRow, source: State, by: str, params_digest: str | None = None) -> None:
        started = source is State.STARTED
        if started:
            sentence = f"its worker ended before it could say what had happened; all it had started was ended ({by})"
        elif row.deaths:
            sentence = f"an earlier run was cut off, and it did not run again ({by})"
        else:
            sentence = f"it had not started ({by})"
        result = ended_without_result(row.job_id, "cancelled", sentence)
        self._end(
            row.key, source, State.CANCELLED, "cancelled", result, None, executed=started, params_digest=params_digest
        )
