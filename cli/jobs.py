"""`easyalert-agent jobs`: the journal's latest rows, without parameters and output.

`jobs cancel ID`: `cli.cancel`; `jobs tail ID`: `cli.tail`.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from cli import cancel, tail
from cli.cancel import UnknownJob
from cli.looking import settings_to_look
from cli.terminal import duration, plain, table
from easyalert.journal import JobRow, Journal, State


def main(options: argparse.Namespace) -> int:
    """Print them, newest first. Raises JournalError."""
    settings = settings_to_look()
    path = settings.journal_path
    rows: list[JobRow] = []
    following = options.job == "tail" and options.of is not None
    if options.of is not None and options.job not in {"cancel", "tail"}:
        raise UnknownJob(f"'{plain(options.job)}' is nothing to do with a job; there are: jobs cancel ID, jobs tail ID")
    if options.of is not None and not following and path.exists():
        return cancel.main(settings, options.of)
    if path.exists():  # opening it would make it
        with Journal(path) as journal:
            rows = journal.find(options.of) if following else _chosen(journal, options)
            if following and rows:
                return tail.follow(settings, journal, rows[0])
    if options.json and not following:
        print(json.dumps([as_json(row) for row in rows], indent=2))
    elif rows:
        print("\n".join(view(rows, time.time())))
    elif options.job:
        name = plain(options.of or options.job)
        raise UnknownJob(f"this agent's journal has no job {name}; it forgets reported ones after a day")
    else:
        print("no results were rejected" if options.rejected else "no jobs yet")
    return 0


def _chosen(journal: Journal, options: argparse.Namespace) -> list[JobRow]:
    if options.job:
        return journal.find(options.job)
    return journal.latest(max(1, options.limit), state=State.REJECTED if options.rejected else None)


def as_json(row: JobRow) -> dict[str, Any]:
    """One row; times are epoch seconds."""
    result = row.result or {}
    return {
        "jobId": row.job_id,
        "attempt": row.attempt,
        "action": row.action,
        "connectionId": row.connection_id,
        "requestedBy": row.requested_by,
        "state": str(row.state),
        "outcome": row.outcome,
        "status": result.get("status"),
        "exitCode": result.get("exitCode"),
        "error": result.get("error"),
        "receivedAt": row.received_at,
        "finishedAt": row.finished_at,
        "durationMs": result.get("durationMs"),
        "rejection": row.rejection,
        "cancelRequested": None if row.cancel_at is None else {"by": row.cancel_by, "at": row.cancel_at},
    }


def view(rows: list[JobRow], now: float) -> list[str]:
    """The lines for people; `now` in epoch seconds."""
    cells = [("RECEIVED", "JOB", "ACTION", "STATE", "RESULT")]
    for row in rows:
        result = row.result or {}
        # a job that has ended and been reported is best described by how it ended
        ended = str(result.get("status") or "")
        reason = row.rejection or result.get("error") or ""
        cells.append(
            (
                f"{duration(now - row.received_at)} ago",
                plain(row.job_id)[:60],
                plain(row.action)[:40],
                "reported" if row.state is State.ACKED else str(row.state),
                f"{ended}{': ' if ended and reason else ''}{plain(reason)[:100]}",
            )
        )
    return [line.rstrip() for line in table(cells)]
