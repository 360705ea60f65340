"""The journal's file as an object: opening, transactions, errors, notes, and the one way a row ends."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from easyalert.errors import JournalDamaged, JournalError, JournalFull
from easyalert.journal.reserve import LOG_BYTES, RESERVE_BYTES, SMALL_BYTES, Reserve, free_bytes
from easyalert.journal.rows import JobRow, Outcome, State, row_of
from easyalert.journal.schema import open_database
from easyalert.runtime import ProcessIdentity, boot_id, monotonic_ms

T = TypeVar("T")

_FULL_BELOW_BYTES: Final = 65_536
_FRAME_BYTES: Final = 4096 + 24
"""Of the write-ahead log: a page and its header."""
OWNED_SQL: Final = "owner_boot = ? AND owner_pid = ? AND owner_ticks = ?"


REQUESTER_UNKNOWN: Final = "unknown (not said by the control plane)"
"""For whom a job ran, where only its sender's key is known (contract 2.1 has no requester)."""

ToRecord = tuple[str, Mapping[str, Any]]
"""Kind and fields of an audit entry."""


@dataclass(frozen=True)
class Recorded:
    """An audit entry that waits in the journal. `number` only rises; `at` is epoch seconds."""

    number: int
    at: float
    kind: str
    fields: dict[str, Any]


class JournalFile:
    """What every part of the journal is built on. Raises JournalError (disk, lock) or JournalDamaged."""

    def __init__(
        self,
        path: Path,
        *,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], int] = monotonic_ms,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.path = path
        self._wall = wall_clock
        self._monotonic = monotonic
        self._boot = boot()
        self._pid = os.getpid()
        self.reserve = Reserve(path)
        self._db = self._opened()

    def _opened(self) -> sqlite3.Connection:
        """On a full disk even the shared index of the log needs a piece of the reserve."""
        while True:
            try:
                return open_database(self.path)
            except JournalDamaged:
                raise
            except JournalError:
                if not self._disk_full() or not self.reserve.give_back():
                    raise

    def _disk_full(self) -> bool:
        with contextlib.suppress(OSError):  # no such folder: that is not why
            return free_bytes(self.path.parent) < _FULL_BELOW_BYTES
        return False

    def close(self) -> None:
        """Release the file. The object is useless afterwards."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> JobRow | None:
        """One row."""
        rows = self._rows("key = ?", (key,))
        return rows[0] if rows else None

    # ---- notes between processes ------------------------------------------------------------------------------------

    def note(self, name: str) -> Any:
        """A small JSON value another process has left (`registration`, `pause`, …); None when absent."""
        with self._errors():
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def leave_note(self, name: str, value: Any, *, durable: bool = False, audited: ToRecord | None = None) -> None:
        """Replace a note; None removes it. `durable`: it survives a power cut; else only the end of every process.

        `audited`: the kind and fields of an audit entry that tells of it.
        """
        with self._transaction(wait_for_disk=durable):
            if audited is not None:
                self._audit(*audited)
            if value is None:
                self._db.execute("DELETE FROM meta WHERE name = ?", (name,))
            else:
                self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    # ---- what is to be recorded (easyalert.audit) --------------------------------------------------------------------

    def audit_now(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Have something recorded that is no step of a job."""
        with self._transaction():
            self._audit(kind, fields)

    def audit_waiting(self, limit: int) -> list[Recorded]:
        """What is not in the audit record yet, oldest first."""
        with self._errors():
            rows = self._db.execute("SELECT * FROM audit ORDER BY number LIMIT ?", (limit,)).fetchall()
        return [Recorded(row["number"], row["at"], row["kind"], json.loads(row["fields"])) for row in rows]

    def audit_moved(self, through: int, note: str, value: Any) -> None:
        """Everything up to `through` is in the record now, on the disk; `note` says where that ends."""
        with self._transaction(wait_for_disk=False):  # lost, it is moved again and found there
            self._db.execute("DELETE FROM audit WHERE number <= ?", (through,))
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (note, json.dumps(value)))

    def identity(self) -> str:
        """A name for this journal that no other has, a new one after damage included."""
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (json.dumps(secrets.token_hex(6)),))
        return str(self.note("identity"))

    def _audit(self, kind: str, fields: Mapping[str, Any]) -> None:
        text = json.dumps(dict(fields), separators=(",", ":"))
        self._db.execute("INSERT INTO audit (at, kind, fields) VALUES (?, ?, ?)", (self._wall(), kind, text))

    # ---- for the parts of the journal --------------------------------------------------------------------------------

    def _end(
        self,
        key: str,
        source: State,
        target: State,
        outcome: Outcome,
        result: dict[str, Any],
        fault: str | None,
        *,
        executed: bool = True,
        owner: ProcessIdentity | None = None,
        params_digest: str | None = None,
    ) -> bool:
        text = json.dumps(result, allow_nan=False, separators=(",", ":"))
        whose, whom = (f" AND {OWNED_SQL}", owner_columns(owner)) if owner else ("", ())
        # the parameters are needed no more: what is not there cannot leak
        moved = self._db.execute(
            "UPDATE jobs SET state = ?, outcome = ?, result = ?, result_bytes = ?, fault = ?, finished_ms = ?,"
            f" finished_at = ?, sealed = NULL WHERE key = ? AND state = ?{whose}"
            " RETURNING job_id, attempt, action, connection_id, requested_by",
            (
                *(target, outcome, text, len(text), fault, self._monotonic(), self._wall()),
                *(key, source, *whom),
            ),
        ).fetchall()
        for row in moved:
            self._audit(
                "job.ended",
                {
                    **job_fields(*row),
                    "ran": executed,
                    "outcome": outcome,
                    "status": result.get("status"),
                    "exitCode": result.get("exitCode"),
                    "durationMs": result.get("durationMs"),
                    "fault": fault,
                    "paramsDigest": params_digest,
                },
            )
        if moved and executed:
            self._count(failed=result.get("status") != "success")
        return bool(moved)

    def _count(self, *, failed: bool) -> None:
        self._db.execute(
            "UPDATE totals SET value = value + 1 WHERE name = 'executed' OR (? AND name = 'failed')", (failed,)
        )
        self._db.execute(
            "INSERT INTO minutes VALUES (?, 1, ?) ON CONFLICT (minute) DO UPDATE"
            " SET executed = executed + 1, failed = failed + excluded.failed",
            (int(self._wall() // 60), int(failed)),
        )

    def _surely(self, write: Callable[[], T], size: int = 0) -> T:
        """What has to be written also while the disk is full: with pieces of the reserve, while there are any.

        `size`: bytes beyond a row's own few hundred.
        """
        while True:
            try:
                return write()
            except JournalFull:
                if not self.reserve.give_back(size):
                    raise

    def _leave_room(self, size: int) -> None:
        """Raises JournalFull when `size` bytes more would leave no room in the log for small results."""
        if size > SMALL_BYTES:
            with self._errors():
                frames = self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            if frames * _FRAME_BYTES + size > LOG_BYTES - RESERVE_BYTES:
                raise JournalFull(f"the disk that holds the job journal {self.path} is full")

    def _rows(self, where: str, parameters: Sequence[Any] = ()) -> list[JobRow]:
        with self._errors():
            # `where` is always one of this module's own texts
            records = self._db.execute(f"SELECT * FROM jobs WHERE {where}", parameters).fetchall()
        return [row_of(record) for record in records]

    @contextlib.contextmanager
    def _transaction(self, *, wait_for_disk: bool = True) -> Iterator[None]:
        with self._errors():
            self._db.execute("PRAGMA synchronous=FULL" if wait_for_disk else "PRAGMA synchronous=NORMAL")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The one edge where sqlite's errors become ours."""
        if os.getpid() != self._pid:
            raise RuntimeError("a Journal was carried over a fork; open a new one in the child")
        try:
            yield
        except sqlite3.OperationalError as error:
            if self._means_full(error):
                raise JournalFull(f"the disk that holds the job journal {self.path} is full ({error})") from None
            raise JournalError(f"the job journal {self.path} cannot be used: {error}") from None
        except UnicodeEncodeError as error:  # bytes of a command line that are no UTF-8, half a JSON escape
            raise JournalError(f"the job journal holds no such name: {error.object!a} is no text") from None
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a mistake in this program (closed, another thread, a broken rule), not in the file
        except sqlite3.DatabaseError as error:
            raise JournalDamaged(f"the job journal {self.path} is damaged: {error}") from None

    def _means_full(self, error: sqlite3.OperationalError) -> bool:
        """Where the shared index of its log cannot grow, SQLite says "disk I/O error"."""
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_IOERR:
            return self._disk_full()
        return code == sqlite3.SQLITE_FULL


def job_fields(
    job_id: str, attempt: int | None, action: str, connection_id: str | None, requested_by: str | None
) -> dict[str, Any]:
    """What every audit entry about a job's start or end begins with."""
    return {
        "jobId": job_id,
        "attempt": attempt,
        "action": action,
        "connectionId": connection_id,
        "requestedBy": requested_by or REQUESTER_UNKNOWN,
    }


def owner_columns(owner: ProcessIdentity | None) -> tuple[str, int, int] | tuple[None, None, None]:
    """The three columns that name a row's owner."""
    return (None, None, None) if owner is None else (owner.boot_id, owner.pid, owner.start_ticks)
