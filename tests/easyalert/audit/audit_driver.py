"""`python audit_driver.py FOLDER NAME`: adds entries for ever; prints what each append has promised. Until it is killed."""

import itertools
import signal
import sys
from pathlib import Path

from easyalert.audit import AuditLog, Entry

if __name__ == "__main__":
    signal.alarm(60)
    log = AuditLog(Path(sys.argv[1]), segments_kept=1000)
    for number in itertools.count():
        head = log.append([Entry(0, "job.started", {"by": sys.argv[2], "number": number})] * 3)
        sys.stdout.write(f"{sys.argv[2]} {head.seq} {head.hash}\n")
        sys.stdout.flush()
