"""The spool: what a running job has printed, redacted, on its way to the control plane and to people who follow it.

One folder per job below `STATE_DIR/output`, 0700, named by the job's key. A worker appends frames to numbered segment
files; the poller and `easyalert-agent jobs tail` read them, without locks: a segment is only ever appended to, and a
later one exists only when the earlier ones are complete. Beyond the limit the middle is dropped, segment by segment:
the beginning and the end of the output stay. Every frame says where its bytes stand, so what is missing is known
exactly. Belongs here: the files' format, writing, reading. Never comes in: a secret (only redacted bytes are written),
the network.

A folder whose name begins with a dot has not been shown to anybody yet: a job that ends at once never shows one, for
its result says everything.
"""

from easyalert.spool.frames import STREAMS, Frame, JobOfSpool, Stream
from easyalert.spool.reader import Place, SpoolReader, hidden_spools, remove_spool, show_spool, shown_spools
from easyalert.spool.writer import SpoolWriter

__all__ = [
    "STREAMS",
    "Frame",
    "JobOfSpool",
    "Place",
    "SpoolReader",
    "SpoolWriter",
    "Stream",
    "hidden_spools",
    "remove_spool",
    "show_spool",
    "shown_spools",
]
