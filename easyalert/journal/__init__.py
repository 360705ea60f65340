"""The job journal: the agent's truth about every job it was given.

One SQLite file in the state directory (WAL, `synchronous=FULL`, 0600), written by the poller and the workers, read by
the heartbeat, the admin API and the command line. Redis and RQ carry keys of its rows and nothing else.

A job's life; every arrow is one compare-and-set of one row, durable before the next step::

    taken ──► queued ──► started ──► done ─────► acked
      │          ├─► cancelled, expired ──► acked   │
      └─ refused └──────── in_doubt ──────► acked   └─► rejected (set aside)

`taken` is journalled but not permitted yet (feature `ack`); a plain server's jobs begin as `queued`. The rows `done`,
`in_doubt`, `cancelled` and `expired` are the outbox: they leave it only on the control plane's answer for them.
"""

from easyalert.journal.cancelling import Asked
from easyalert.journal.figures import Figures
from easyalert.journal.rows import JobRow, NewJob, Outcome, State, job_key
from easyalert.journal.store import Journal

__all__ = ["Asked", "Figures", "JobRow", "Journal", "NewJob", "Outcome", "State", "job_key"]
