"""The agent's own record of what ran here for whom: append-only, hash-chained, without secrets.

Belongs here: the files under `STATE_DIR/audit`, their lock, their chain, and the check of it. Never comes in:
parameters, output, credentials; of parameters there is a digest under a key of this agent, so that nobody who reads the
record can try out what they were (`sealing.PrivateKey.digest`).

Entries begin in the journal, in the very transaction of what they tell of (`JournalFile.audit`): so none is lost when a
process is killed, none costs a write of its own, and no job waits for this record. The workers' bookkeeper, or whoever
has just made an entry, moves them into the chain. Each line carries the mark of the last journal entry in it, so that
an entry moved twice, because a process died in between, stands there once.

One line is one JSON object: `seq` (from 1), `at`, `kind`, what the kind says, `mark`, `prev` (hash of the line before)
and `hash` (SHA-256 of the line as JSON without `hash`, keys sorted, without spaces, ASCII). Files are numbered and
bounded; the chain goes on from one to the next, and an entry `audit.pruned` says up to where the oldest were removed.

Who may write these files can write all of them anew: what shows that is a witness elsewhere. The last hash is in every
heartbeat, and `easyalert-agent audit verify --anchor SEQ:HASH` compares.
"""

from easyalert.audit.log import AuditLog
from easyalert.audit.moving import move, record
from easyalert.audit.record import Entry, Head
from easyalert.audit.verify import Verdict, verify

__all__ = ["AuditLog", "Entry", "Head", "Verdict", "move", "record", "verify"]
