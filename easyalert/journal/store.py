"""Reading and writing the journal. One `Journal` per process and thread; never carried over a fork."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from easyalert.journal.bindings import CredentialBindings
from easyalert.journal.figures import Figures, read_figures
from easyalert.journal.file import OWNED_SQL, ToRecord, job_fields, owner_columns
from easyalert.journal.pause import local_pause
from easyalert.journal.rows import JobRow, NewJob, Outcome, State
from easyalert.journal.spending import Spending, SpentSignatures
from easyalert.journal.stepping import ClockSteps
from easyalert.protocol.results import ended_without_result
from easyalert.runtime import ProcessIdentity

Disposition = Literal["new", "waiting", "running", "answered"]
"""What `take` found: never seen; known and not started; running; finished (its result will be sent again)."""

_OUTBOX_SQL = "('done', 'in_doubt', 'cancelled', 'expired')"
_REJECTED_KEPT_S = 30 * 86400
"""Results the control plane refused are kept this long for people, whatever the de-duplication memory."""


class Journal(SpentSignatures, CredentialBindings, ClockSteps):
    """Raises JournalError (disk, lock) or JournalDamaged. Writes are durable, except what would be said again."""

    # ---- taking jobs (poller) ---------------------------------------------------------------------------------------

    def take(self, jobs: Sequence[NewJob]) -> list[tuple[NewJob, Disposition]]:
        """Write a whole poll's answer in one transaction; jobs already known are not written twice.

        A known job that has ended goes back to the outbox, so that its stored result is sent again; so does one whose
        result was refused before: whoever hands the job out again is asking for it.
        """
        with self._transaction():
            return [(job, self._take_one(job)) for job in jobs]

    def _take_one(self, job: NewJob) -> Disposition:
        now = self._monotonic()
        lease_until = None if job.lease_s is None else now + int(job.lease_s * 1000)
        known = self._db.execute("SELECT state FROM jobs WHERE key = ?", (job.key,)).fetchone()
        if known is None:
            state = State.TAKEN if job.needs_ack and job.refusal is None else State.QUEUED
            self._db.execute(
                "INSERT INTO jobs (key, job_id, attempt, state, action, connection_id, sealed, timeout_s, idempotent,"
                " received_at, boot_id, received_ms, lease_until_ms, start_by_ms, start_by_at, signature,"
                " requested_by)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    *(
                        job.key,
                        job.job_id,
                        job.attempt,
                        state,
                        job.action,
                        job.connection_id,
                        job.sealed,
                        job.timeout_s,
                    ),
                    *(job.idempotent, self._wall(), self._boot, now, lease_until),
                    *(now + int(job.start_within_s * 1000), self._wall() + job.start_within_s),
                    None if job.signature is None else json.dumps(job.signature),
                    job.requested_by,
                ),
            )
            if job.refusal is not None:
                self._end(job.key, State.QUEUED, State.DONE, "finished", job.refusal, "job", executed=False)
            return "new"
        state = State(known["state"])
        if state in {State.TAKEN, State.QUEUED}:
            # handed out again without the need of a permit (the server offers `ack` no more): free to start
            permitted = state is State.QUEUED or not job.needs_ack
            self._db.execute(
                "UPDATE jobs SET state = ?, lease_until_ms = ? WHERE key = ?",
                (State.QUEUED if permitted else State.TAKEN, lease_until, job.key),
            )
            return "waiting"
        if state is State.STARTED:
            return "running"
        # acked: the answer to our report may have been lost on the server's side; send the stored result once more
        self._db.execute(
            "UPDATE jobs SET state = CASE outcome WHEN 'in_doubt' THEN 'in_doubt' WHEN 'cancelled' THEN 'cancelled'"
            " WHEN 'expired' THEN 'expired' ELSE 'done' END, settled_at = NULL, rejection = NULL"
            " WHERE key = ? AND state IN ('acked', 'rejected')",
            (job.key,),
        )
        return "answered"

    def unacknowledged(self) -> list[JobRow]:
        """Rows that wait for the control plane's permit, oldest first."""
        return self._rows("state = 'taken' ORDER BY received_ms")

    def acknowledge(self, accepted: Iterable[str], refused: Iterable[str] = ()) -> None:
        """The control plane's answer: permitted keys become `queued`, refused ones are dropped."""
        now = self._monotonic()
        with self._transaction(wait_for_disk=False):  # lost, it is asked for and answered again; `start` is durable
            self._db.executemany(
                "UPDATE jobs SET state = 'queued', acknowledged_ms = ? WHERE key = ? AND state = 'taken'",
                [(now, key) for key in accepted],
            )
            self._db.executemany("DELETE FROM jobs WHERE key = ? AND state = 'taken'", [(key,) for key in refused])

    def withdraw_permits(self) -> int:
        """What has a permit and has not started waits for its permit again; returns how many rows."""
        with self._transaction():
            return self._db.execute(
                "UPDATE jobs SET state = 'taken', acknowledged_ms = NULL"
                " WHERE state = 'queued' AND attempt IS NOT NULL AND acknowledged_ms IS NOT NULL"
            ).rowcount

    def queued(self) -> list[JobRow]:
        """Rows that may start, oldest first."""
        return self._rows("state = 'queued' ORDER BY received_ms, key")

    def queued_keys(self) -> set[str]:
        """Keys of rows that may start; cheap, whatever their parameters weigh."""
        with self._errors():
            return {row[0] for row in self._db.execute("SELECT key FROM jobs WHERE state = 'queued'")}

    def expire(self) -> list[str]:
        """End rows whose start deadline is over; returns their keys."""
        with self._transaction():
            late = [row for row in self._rows("state = 'queued'") if self._too_late(row.key)]
            for row in late:
                self._end_expired(row)
        return [row.key for row in late]

    # ---- running jobs (workers) -------------------------------------------------------------------------------------

    def start(
        self,
        key: str,
        owner: ProcessIdentity,
        spending: Spending | None = None,
        *,
        policy: str | None = None,
        signature: str | None = None,
    ) -> JobRow | None:
        """The start fence: `queued → started`, for exactly one caller. None: not yours to run, do nothing.

        A job past its start deadline becomes `expired` instead; while the agent is paused here, nothing starts.
        With `spending`, nothing starts either when another row has used that signature. `policy`: what this agent's
        policy said of the job, `signature`: what became of its signature, for the audit record; None: nobody looked.
        """
        with self._transaction():
            row = self._startable(key)
            if row is None or (spending is not None and not self._spend(key, spending)):
                return None
            self._db.execute(
                "UPDATE jobs SET state = 'started', started_ms = ?, owner_boot = ?, owner_pid = ?, owner_ticks = ?"
                " WHERE key = ? AND state = 'queued'",
                (self._monotonic(), owner.boot_id, owner.pid, owner.start_ticks, key),
            )
            said = {"run": row.deaths + 1, "policy": policy, "signature": signature}
            self._audit("job.started", {**_fields(row), **said})
            return self.get(key)

    def refuse(
        self,
        key: str,
        result: dict[str, Any],
        fault: str | None,
        *,
        policy: str | None = None,
        params_digest: str | None = None,
    ) -> bool:
        """Answer a job that this agent does not run: `queued → done`, never `started`. False: it is not to be answered.

        A job that is too late expires all the same; one that ran before, and was to run again, is `in_doubt`. Written
        also while the disk is full: it is a small answer, and begins nothing. `policy` (why it is refused) and
        `params_digest` are for the audit record.
        """

        def write() -> bool:
            with self._transaction():
                row = self._startable(key)
                if row is None:
                    return False
                self._audit("job.refused", {**_fields(row), "policy": policy})
                if row.deaths:
                    self._end_in_doubt(row, State.QUEUED, params_digest=params_digest, repeatable=True)
                    return True
                return self._end(
                    *(key, State.QUEUED, State.DONE, "finished", result, fault),
                    executed=False,
                    params_digest=params_digest,
                )

        return self._surely(write)

    def finish(
        self,
        key: str,
        result: dict[str, Any],
        *,
        outcome: Outcome = "finished",
        fault: str | None = None,
        owner: ProcessIdentity | None = None,
        params_digest: str | None = None,
        audited: ToRecord | None = None,
    ) -> bool:
        """`started → done` with the redacted result (contract 2.2). False: somebody else has ended it already.

        `owner` is the fencing token: with it, only the run that this process began can be ended. `params_digest` and
        `audited` (what else the job has done) are for the audit record. Raises JournalFull when neither disk nor
        reserve have space for a result of this size; a small one may still be written.
        """
        size = len(json.dumps(result)) if self.reserve.short() else 0

        def write() -> bool:
            self._leave_room(size)
            with self._transaction():
                if audited is not None:
                    self._audit(*audited)
                return self._end(
                    key, State.STARTED, State.DONE, outcome, result, fault, owner=owner, params_digest=params_digest
                )

        return self._surely(write, size)

    def running(self) -> list[JobRow]:
        """Rows that have started and not ended, with their owners."""
        return self._rows("state = 'started' ORDER BY started_ms, key")

    def owner_died(
        self, row: JobRow, *, run_again: bool, max_deaths: int = 3, params_digest: str | None = None
    ) -> State | None:
        """A started row's worker is gone and its process tree is dead: settle what becomes of the job.

        `run_again`: the action may be repeated. The `max_deaths`-th death is final (`error: poison`). A job that was
        to be cancelled is `cancelled`: nothing of it runs any more, and nobody wants it to run again.
        Returns the new state; None when the row has moved on meanwhile, a later run by another process included.
        """
        return self._surely(lambda: self._settle_dead(row, max_deaths, params_digest, run_again=run_again))

    def _settle_dead(self, row: JobRow, max_deaths: int, params_digest: str | None, *, run_again: bool) -> State | None:
        deaths = row.deaths + 1
        with self._transaction():
            counted = self._db.execute(
                f"UPDATE jobs SET deaths = ? WHERE key = ? AND state = 'started' AND deaths = ? AND {OWNED_SQL}",
                (deaths, row.key, row.deaths, *owner_columns(row.owner)),
            ).rowcount
            if not counted:
                return None
            if (asked_by := self.asked_to_cancel(row.key)) is not None:
                self._end_cancelled(row, State.STARTED, asked_by, params_digest)
                return State.CANCELLED
            if deaths >= max_deaths:
                sentence = f"{deaths} workers died while running this job; it is not run again here"
                result = ended_without_result(row.job_id, "poison", sentence) | _said(repeatable=run_again)
                self._end(row.key, State.STARTED, State.DONE, "finished", result, "job", params_digest=params_digest)
                return State.DONE
            if run_again:
                self._db.execute(
                    "UPDATE jobs SET state = 'queued', started_ms = NULL, owner_boot = NULL, owner_pid = NULL,"
                    " owner_ticks = NULL WHERE key = ?",
                    (row.key,),
                )
                fields = {"jobId": row.job_id, "attempt": row.attempt, "run": deaths, "paramsDigest": params_digest}
                self._audit("job.interrupted", fields)
                return State.QUEUED
            self._end_in_doubt(row, State.STARTED, params_digest=params_digest)
            return State.IN_DOUBT

    # ---- reporting (poller) -----------------------------------------------------------------------------------------

    def unreported(self, limit: int = 50) -> list[JobRow]:
        """The outbox, oldest first, with the results: of as many rows as fit into memory."""
        return self._rows(f"state IN {_OUTBOX_SQL} ORDER BY finished_at, key LIMIT ?", (limit,))

    def unreported_keys(self, limit: int = 50) -> list[str]:
        """The keys of the outbox, oldest first; cheap, whatever the results weigh."""
        with self._errors():
            found = self._db.execute(
                f"SELECT key FROM jobs WHERE state IN {_OUTBOX_SQL} ORDER BY finished_at, key LIMIT ?", (limit,)
            )
            return [row[0] for row in found]

    def mark_reported(self, keys: Iterable[str]) -> None:
        """The control plane has answered for these results. They stay as de-duplication memory until pruned."""
        with self._transaction(wait_for_disk=False):  # lost, the result is sent again and called a duplicate
            self._db.executemany(
                f"UPDATE jobs SET state = 'acked', settled_at = ? WHERE key = ? AND state IN {_OUTBOX_SQL}",
                [(self._wall(), key) for key in keys],
            )

    def mark_rejected(self, key: str, reason: str) -> None:
        """The control plane will never take this result: set it aside, with the reason, so it blocks nothing."""
        self._surely(lambda: self._set_aside(key, reason))

    def _set_aside(self, key: str, reason: str) -> None:
        with self._transaction():
            self._db.execute(
                "UPDATE jobs SET state = 'rejected', settled_at = ?, rejection = ?"
                f" WHERE key = ? AND state IN {_OUTBOX_SQL}",
                (self._wall(), reason[:500].encode("utf-8", "replace").decode(), key),
            )

    def prune(self, older_than_s: float, limit: int = 500) -> int:
        """Forget rows settled that long ago, whatever was done to the wall clock since; returns how many."""
        self.follow_clock()
        edge = self._wall() - older_than_s
        with self._transaction():
            gone = self._db.execute(
                "DELETE FROM jobs WHERE key IN (SELECT key FROM jobs WHERE settled_at < ?"
                " AND (state = 'acked' OR settled_at < ?) LIMIT ?)",
                (edge, min(edge, self._wall() - _REJECTED_KEPT_S), limit),
            ).rowcount
            self._forget_spent()
            self._db.execute("DELETE FROM minutes WHERE minute < ?", (int(self._wall() // 60) - 24 * 60,))
        return gone

    # ---- looking ----------------------------------------------------------------------------------------------------

    def latest(self, limit: int = 50, *, state: State | None = None) -> list[JobRow]:
        """The rows received last, newest first; for people."""
        if state is not None:
            return self._rows("state = ? ORDER BY received_at DESC LIMIT ?", (state, limit))
        return self._rows("1 ORDER BY received_at DESC LIMIT ?", (limit,))

    def find(self, name: str) -> list[JobRow]:
        """All hand-outs of a job, by its id or by a row's key, newest first; for people."""
        return self._rows("key = ? OR job_id = ? ORDER BY received_at DESC", (name, name))

    def figures(self) -> Figures:
        """Counts at this moment."""
        with self._errors():
            return read_figures(self._db, self._wall())

    def unsettled(self) -> int:
        """Rows taken, queued or started: what fills the agent's slots."""
        with self._errors():
            sql = "SELECT count(*) FROM jobs WHERE state IN ('taken', 'queued', 'started')"
            return int(self._db.execute(sql).fetchone()[0])

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _startable(self, key: str) -> JobRow | None:
        """The row, when it may start now; a late one expires. Within a transaction."""
        row = self.get(key)
        if row is None or row.state is not State.QUEUED:
            return None
        if self._too_late(key):
            self._end_expired(row)
            return None
        return None if local_pause(self, self._wall()) is not None else row

    def _end_in_doubt(
        self, row: JobRow, source: State, *, params_digest: str | None = None, repeatable: bool = False
    ) -> None:
        result = ended_without_result(
            row.job_id,
            "in_doubt",
            "the process that ran this job ended before its outcome was recorded; check the target, then settle it",
        ) | _said(repeatable=repeatable)
        self._end(row.key, source, State.IN_DOUBT, "in_doubt", result, "agent", params_digest=params_digest)

    def _end_expired(self, row: JobRow) -> None:
        if row.deaths:
            # it has run before and waited to run again: "expired" would claim that nothing happened
            self._end_in_doubt(row, State.QUEUED, repeatable=True)
            return
        result = ended_without_result(
            row.job_id, "expired", "this agent could not start the job within its start deadline"
        )
        self._end(row.key, State.QUEUED, State.EXPIRED, "expired", result, "agent", executed=False)

    def _too_late(self, key: str) -> bool:
        row = self._db.execute("SELECT boot_id, start_by_ms, start_by_at FROM jobs WHERE key = ?", (key,)).fetchone()
        if row["boot_id"] == self._boot:
            return bool(self._monotonic() > row["start_by_ms"])
        # received before a reboot: the monotonic clock began anew, only the wall clock is left
        return bool(self._wall() > row["start_by_at"])


def _said(*, repeatable: bool) -> dict[str, Any]:
    """For the control plane: this agent gives up, and another one may run the job."""
    return {"repeatable": True} if repeatable else {}


def _fields(row: JobRow) -> dict[str, Any]:
    return job_fields(row.job_id, row.attempt, row.action, row.connection_id, row.requested_by)
