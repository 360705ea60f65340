"""The job journal: the agent's truth about every job it was given.

One SQLite file in the state directory (WAL, `synchronous=FULL`, 0600), written by the poller and the workers, and by
the command line where a person cancels or pauses; the heartbeat and the admin API read it too. Redis and RQ carry keys
of its rows and nothing else.

A job's life; every arrow is one compare-and-set of one row, durable before the next step::

    taken ──► queued ──► started ──► done ─────► acked
      │          ├─► cancelled, expired ──► acked   │
      └─ refused └──────── in_doubt ──────► acked   └─► rejected (set aside)

A `queued` job that the agent's owner does not allow becomes `done` with its refusal, without ever being `started`.

`taken` is journalled but not permitted yet (feature `ack`); a plain server's jobs begin as `queued`. A request to
cancel ends a `taken` or `queued` row and marks a `started` one, whose worker then ends the job; where that worker died,
the marked row becomes `cancelled`. While the note `pause` is in force, nothing passes from `queued` to `started`.
The rows `done`, `in_doubt`, `cancelled` and `expired` are the outbox: they leave it only on the control plane's answer
for them.
"""

from easyalert.journal.cancelling import Asked
from easyalert.journal.figures import Figures
from easyalert.journal.reserve import Reserve
from easyalert.journal.rows import JobRow, NewJob, Outcome, State, job_key
from easyalert.journal.spending import Spending
from easyalert.journal.store import Journal

__all__ = [
    "Asked",
    "Figures",
    "JobRow",
    "Journal",
    "NewJob",
    "Outcome",
    "Reserve",
    "Spending",
    "State",
    "job_key",
]
