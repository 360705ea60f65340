"""The database: engine, transactions, and everything that is peculiar to SQLite.

A read transaction never blocks and is never blocked. A write transaction takes the write lock at once (`BEGIN
IMMEDIATE`), so that what it read cannot change under it. On SQLite one lock in the process queues the writers: its own
busy handler polls with growing sleeps, which costs a waiting request up to 100 ms.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from controlplane.models.at_rest import AtRest, info_with
from easyalert.errors import EasyAlertError

POOL_SIZE = 24
BUSY_TIMEOUT_MS = 15_000
"""For other processes only (the command line beside the server)."""

SCRUB_TIMEOUT_MS = 200

AfterCommit = Callable[[Session], None]


class StorageError(EasyAlertError):
    """The database cannot be read or written now: disk full, no rights, locked, gone.

    The sentence has no parameters of a statement in it.
    """

    retryable = True

    def __init__(self, cause: OperationalError) -> None:
        super().__init__(
            f"the control plane's database cannot be used ({cause.orig}): check its disk and its rights, then try again"
        )


class Database:
    """An engine and its two kinds of transaction.

    `after_commit`, when set, is called with the session after each committed write, in the writing thread; the
    session's `info` carries what the transaction left there.
    """

    def __init__(self, url: str, at_rest: AtRest | None = None) -> None:
        """`at_rest` seals what must not lie in the database in clear; without it, nothing outlives this object."""
        parsed = make_url(url)
        self._at_rest = at_rest or AtRest(os.urandom(32))
        self.url: URL = parsed
        self.after_commit: AfterCommit | None = None
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        # hide_parameters: the text of a database error must not carry a job's parameters into a log.
        self.engine: Engine = create_engine(
            parsed, hide_parameters=True, pool_size=POOL_SIZE, max_overflow=8, pool_use_lifo=True
        )
        self._writing = self.engine.execution_options(write=True)
        self._writing_lazily = self.engine.execution_options(write=True, lazily=True)
        self._write_lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self._is_sqlite:
            self._write_lock = threading.Lock()
            event.listen(self.engine, "connect", _configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    @property
    def file(self) -> Path | None:
        """The database's file, where it is one."""
        return Path(self.url.database) if self._is_sqlite and self.url.database else None

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent snapshot. Nothing is written, whatever the block does."""
        with _storage_errors(), self._session(self.engine, autoflush=False) as session:
            # Closing rolls back, and leaves what was loaded readable; rollback() would not.
            yield session

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Session]:
        """One write transaction: committed at the end of the block, rolled back when it raises.

        `durable=False` does not wait for the disk: a power cut may undo it, alone or with later ones of its kind, never
        in part and never once a durable transaction has followed. For what the other side will ask for again.
        """
        engine = self._writing if durable else self._writing_lazily
        with _storage_errors(), self._write_lock, self._session(engine) as session:
            yield session
            session.commit()
        # Outside the lock: waking others up must not hold up the next writer.
        if self.after_commit is not None:
            self.after_commit(session)

    def _session(self, engine: Engine, *, autoflush: bool = True) -> Session:
        return Session(engine, autoflush=autoflush, expire_on_commit=False, info=info_with(self._at_rest))

    def scrub(self) -> bool:
        """Take deleted secrets out of the write-ahead log too. False while a reader stands in the way: try again."""
        if not self._is_sqlite:
            return True
        with self._write_lock, contextlib.closing(self.engine.raw_connection()) as connection:
            # Past SQLAlchemy's transactions: a checkpoint inside one is refused. It holds up all writers: not for long.
            cursor = connection.cursor()
            try:
                cursor.execute(f"PRAGMA busy_timeout={SCRUB_TIMEOUT_MS}")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                found = cursor.fetchone()
                return found is not None and found[0] == 0
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
                cursor.close()

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StorageError(error) from error


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite does.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        # An acknowledged result must survive a power cut: the agent forgets it on our 2xx.
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        # Credentials in delivery jobs are wiped; their pages must not keep them.
        "secure_delete=ON",
        # KiB, of each connection of the pool: the system caches the file, once for all of them
        "cache_size=-2048",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    write = options.get("write", False)
    if write:
        # Pooled connections serve both kinds, and the setting cannot change inside a transaction.
        connection.exec_driver_sql(f"PRAGMA synchronous={'NORMAL' if options.get('lazily') else 'FULL'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
