"""`python -I -m cli.redis_server`: become the Redis server, tied to supervisord's life and without the agent's secrets.

Started by supervisord with EASYALERT_REDIS_SERVER (the program) and EASYALERT_RUN_DIR. Few imports: it is one exec.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from easyalert.hardening import follow_supervisor

QUICK_EXITS: Final = 2
"""After so many starts within the window below, what is on disk is taken for damaged."""
WINDOW_S: Final = 15.0


def main() -> None:
    """Replace this process by the server."""
    run_dir = Path(os.environ["EASYALERT_RUN_DIR"])
    redis_dir = Path(os.environ["EASYALERT_REDIS_DIR"])
    server = os.environ["EASYALERT_REDIS_SERVER"]
    # the server cannot ask for this itself; it lasts over the exec
    if not follow_supervisor():
        sys.exit(1)
    if keeps_exiting(run_dir / "redis_starts.json"):
        set_aside(redis_dir)
    os.umask(0o077)
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    os.execve(server, [server, str(run_dir / "redis.conf")], environment)  # noqa: S606 - a program, no shell


def keeps_exiting(path: Path, clock: Callable[[], float] = time.monotonic) -> bool:
    """Remember this start; True when the last ones were so recent that the server must have ended at once each time."""
    now = clock()
    try:
        starts = [float(moment) for moment in json.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError):
        starts = []
    recent = [moment for moment in starts if 0 <= now - moment < WINDOW_S]
    damaged = len(recent) >= QUICK_EXITS
    try:
        path.write_text(json.dumps([] if damaged else [*recent, now]), encoding="ascii")
    except OSError:  # a full disk: then that is why it exits, and nothing is damaged
        return False
    return damaged


def set_aside(redis_dir: Path) -> None:
    """Start empty: Redis holds ids only, and the journal puts them back. The last damaged state is kept for a look."""
    aside = redis_dir / "damaged"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    for item in list(redis_dir.iterdir()):
        if item != aside:
            item.replace(aside / item.name)
    sys.stderr.write(f"redis: its files kept it from starting; they are in {aside}, it starts empty\n")


if __name__ == "__main__":
    main()
