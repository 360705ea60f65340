"""The journal's file: its tables, how it is opened, and what happens when it is damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path
from typing import Final

from easyalert.errors import JournalDamaged, JournalError

log = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 1

_TABLES: Final = """
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
    finished_at REAL,
    settled_at REAL,
    rejection TEXT
) STRICT;
CREATE INDEX jobs_by_state ON jobs (state) WHERE state NOT IN ('acked', 'rejected');
CREATE INDEX jobs_by_settled ON jobs (settled_at) WHERE settled_at IS NOT NULL;
CREATE TABLE totals (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO totals VALUES ('executed', 0), ('failed', 0);
CREATE TABLE minutes (minute INTEGER PRIMARY KEY, executed INTEGER NOT NULL, failed INTEGER NOT NULL) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the journal, making it at the first start. Raises JournalDamaged or JournalError."""
    try:
        # 0600 from the first moment: sqlite would use the umask, and its side files copy this file's mode
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        connection = sqlite3.connect(path, timeout=15, isolation_level=None, cached_statements=64)
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


def _prepare(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # parameters are sealed, but results hold output: freed pages are overwritten
    connection.execute("PRAGMA secure_delete=FAST")
    if connection.execute("PRAGMA user_version").fetchone()[0] >= SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


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
            connection.execute("SELECT count(*) FROM jobs, totals, minutes, meta WHERE 0").fetchone()
        finally:
            connection.close()
        if verdict == "ok":
            return None
    except (JournalDamaged, sqlite3.DatabaseError) as error:
        verdict = str(error)
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        piece = path.with_name(path.name + suffix)
        if piece.exists():
            piece.replace(aside.with_name(aside.name + suffix))
    log.error("the job journal was damaged (%s); it is kept as %s and a new one is begun", verdict, aside)
    return aside
