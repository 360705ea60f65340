"""The journal's file: its tables, how it is opened, and what happens when it is damaged."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import time
from pathlib import Path
from typing import Final

from easyalert.errors import JournalDamaged, JournalError

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 6
_PATIENCE_S: Final = 15.0
"""How long a writer waits for another one."""

_AUDIT_TABLE: Final = """CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT"""

_BINDINGS_TABLE: Final = """CREATE TABLE bindings (
    connection_id TEXT PRIMARY KEY,
    entry TEXT NOT NULL,
    address TEXT NOT NULL,
    at REAL NOT NULL
) STRICT"""

_TABLES: Final = (
    """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    attempt INTEGER,
    state TEXT NOT NULL,
    action TEXT NOT NULL,
    connection_id TEXT,
    sealed BLOB,
    timeout_s INTEGER NOT NULL,
    idempotent INTEGER,
    received_at REAL NOT NULL,
    boot_id TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    lease_until_ms INTEGER,
    start_by_ms INTEGER NOT NULL,
    start_by_at REAL NOT NULL,
    acknowledged_ms INTEGER,
    started_ms INTEGER,
    finished_ms INTEGER,
    owner_boot TEXT,
    owner_pid INTEGER,
    owner_ticks INTEGER,
    deaths INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    fault TEXT,
    result TEXT,
    result_bytes INTEGER NOT NULL DEFAULT 0,
    finished_at REAL,
    settled_at REAL,
    rejection TEXT,
    cancel_by TEXT,
    cancel_at REAL,
    signature TEXT,
    requested_by TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_settled ON jobs (settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO totals VALUES ('executed', 0), ('failed', 0);
CREATE TABLE minutes (minute INTEGER PRIMARY KEY, executed INTEGER NOT NULL, failed INTEGER NOT NULL) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE spent (signature TEXT PRIMARY KEY, key TEXT NOT NULL, expires_at REAL NOT NULL) STRICT;
"""
    + _AUDIT_TABLE
    + ";\n"
    + _BINDINGS_TABLE
)

_UPGRADES: Final = {
    1: ("ALTER TABLE jobs ADD COLUMN cancel_by TEXT", "ALTER TABLE jobs ADD COLUMN cancel_at REAL"),
    2: (
        "ALTER TABLE jobs ADD COLUMN signature TEXT",
        "CREATE TABLE spent (signature TEXT PRIMARY KEY, key TEXT NOT NULL, expires_at REAL NOT NULL) STRICT",
    ),
    3: (_AUDIT_TABLE,),
    4: ("ALTER TABLE jobs ADD COLUMN requested_by TEXT",),
    5: (_BINDINGS_TABLE,),
}
"""From each older format to the next one, in place. `_TABLES` is always the newest."""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the journal, making it at the first start. Raises JournalDamaged or JournalError."""
    try:
        _make_private(path)
        connection = sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None, cached_statements=64)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise JournalError(f"the job journal {path} cannot be opened: {error}") from None
    except sqlite3.DatabaseError as error:  # "file is not a database", "malformed"
        raise JournalDamaged(
            f"the job journal {path} is damaged ({error}); restart the agent: it sets the file aside"
        ) from None
    except OSError as error:
        raise JournalError(f"the job journal {path} cannot be opened: {error.strerror}") from None
    return connection


def _make_private(path: Path) -> None:
    """0600 from the first moment: sqlite would use the umask, and its side files copy this file's mode.

    The file is never opened here: closing a descriptor would drop every lock this process holds on the same file
    through another connection (POSIX locks belong to the process).
    """
    try:
        os.mknod(path, stat.S_IFREG | 0o600)
    except FileExistsError:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise JournalError(f"the job journal {path} is not a regular file; move it away") from None
        if mode & 0o077:
            path.chmod(0o600)


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # parameters are sealed, but results hold output: freed pages are overwritten
    connection.execute("PRAGMA secure_delete=FAST")
    # KiB, a quarter of the default, as each process has one: rows are found by key, and the system caches the file
    connection.execute("PRAGMA cache_size=-512")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the job journal has format {version}, newer than this agent: install the newer agent again"
        )
    if version == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        _make_or_upgrade(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _make_or_upgrade(connection: sqlite3.Connection) -> None:
    """Within a transaction: another process may have done it meanwhile."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == 0:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError("it holds another program's tables")
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                connection.execute(statement)
    else:
        for older in range(version, SCHEMA_VERSION):
            for statement in _UPGRADES[older]:
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # the very first switch does not wait for its lock, and all processes of an agent start at once
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                raise
            time.sleep(0.005)
        else:
            return


def set_aside_if_damaged(path: Path) -> Path | None:
    """At the start of the agent, before any process opens the journal: move a damaged file out of the way.

    Returns where it went. What it held is unknown: the control plane turns those jobs `in_doubt`. Raises JournalError.
    """
    if not path.exists():
        return None
    try:
        connection = open_database(path)
        try:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if verdict == "ok" and _columns(connection) != _expected_columns():
                verdict = "its tables are not this agent's"
        finally:
            connection.close()
        if verdict == "ok":
            return None
    except (JournalDamaged, sqlite3.DatabaseError) as error:
        verdict = str(error)
    moment = time.strftime("%Y%m%d%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.damaged-{moment}-{time.time_ns() % 10**9:09}")
    for suffix in ("", "-wal", "-shm"):
        piece = path.with_name(path.name + suffix)
        if piece.exists():
            piece.replace(aside.with_name(aside.name + suffix))
    log.error("the job journal was damaged (%s); it is kept as %s and a new one is begun", verdict, aside)
    return aside


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    return {
        (table, column[1], column[2])
        for table in ("jobs", "totals", "minutes", "meta", "spent", "audit")
        for column in connection.execute(f"PRAGMA table_info({table})")
    }


def _expected_columns() -> set[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as model:
        model.executescript(_TABLES)
        return _columns(model)
