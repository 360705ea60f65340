"""From the journal into the chain."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Final

from easyalert.audit.log import AuditLog
from easyalert.audit.record import Entry, Mark
from easyalert.errors import AuditError, JournalError
from easyalert.journal import Journal

log = logging.getLogger(__name__)

HEAD_NOTE: Final = "auditHead"
"""Journal note `{"seq", "hash"}`: the last line known to be on the disk. A record that ends before it was cut."""
_AT_ONCE: Final = 500


def move(journal: Journal, audit: AuditLog) -> int:
    """Move all waiting entries into the chain; answers how many. Raises AuditError, JournalError: they wait on then.

    What is left of a disk that is nearly full is for the results of jobs; in the journal nothing is lost.
    """
    moved = 0
    while rows := journal.audit_waiting(_AT_ONCE):
        if journal.reserve.short():
            raise AuditError(f"the audit record {audit.folder} is not written: its disk is full")
        name = journal.identity()
        entries = [Entry(row.at, row.kind, row.fields, Mark(name, row.number)) for row in rows]
        head = audit.append(entries)
        noted = None if head is None else {"seq": head.seq, "hash": head.hash}
        journal.audit_moved(rows[-1].number, HEAD_NOTE, noted)
        moved += len(rows)
    return moved


def record(journal_path: Path, folder: Path, kind: str, **fields: Any) -> None:
    """Record something that is not part of a journal's transaction. Never raises: the log says what is missing."""
    audit = AuditLog(folder)
    try:
        if not journal_path.exists():  # opening it would make it
            audit.append([Entry(time.time(), kind, fields)])
            return
        with Journal(journal_path) as journal:
            journal.audit_now(kind, fields)
            move(journal, audit)
    except AuditError as error:
        log.warning("%s (%s waits in the journal, if there is one)", error, kind)
    except JournalError as error:
        log.warning("%s is not in the audit record: %s", kind, error)
