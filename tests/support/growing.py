"""Process trees that do not want to end, as a job's script: bounded by construction, watched through a pipe of their own.

Bounds: whoever forks first takes a byte out of a pipe that was filled once (so many processes in all, ever), and every
process ends by itself when its time is over. The witness is a named pipe that every process of the tree holds open for
writing and nobody else does: its end of file is the kernel's word that all of them are gone.
"""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

KINDS = ("daemon", "deaf", "holder", "hopper", "bomb", "sessions")
TOTAL = 3000
"""Processes that one tree makes at most, from its beginning to its end."""
LIFE_S = 20
"""Seconds after which every process of a tree ends by itself, whatever the agent does."""

SCRIPT = """
import fcntl, os, signal, sys, time
kind, witness, total, life = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
end = time.monotonic() + life
held = os.open(witness, os.O_WRONLY)
reading, writing = os.pipe2(os.O_NONBLOCK)
fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 65536)
os.write(writing, b"." * total)
os.close(writing)

def fork():
    "The child's 0, a pid, or None when there are no more to be had."
    try:
        if not os.read(reading, 1):
            return None
        return os.fork()
    except OSError:
        return None

def linger():
    time.sleep(max(0.0, end - time.monotonic()))
    os._exit(0)

def daemon():
    if fork() == 0:
        os.setsid()
        if fork() == 0:
            linger()
        os._exit(0)

def hop():
    if fork() == 0:
        while True:
            time.sleep(0.02)
            pid = fork()
            if pid is None:
                linger()
            if pid:
                os._exit(0)

def bomb(sessions):
    # doubles to 64, and then each goes on in a child: 256 new processes a second, as many as a machine bears that others
    # use too
    for _ in range(6):
        if fork() == 0 and sessions:
            os.setsid()
    while True:
        time.sleep(0.25)
        pid = fork()
        if pid is None:
            linger()
        if pid:
            os._exit(0)
        if sessions:
            os.setsid()

if kind != "daemon":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("begun", flush=True)
if kind in ("daemon", "holder"):
    daemon()
elif kind == "hopper":
    hop()
os.write(held, b"x")
if kind in ("bomb", "sessions") and fork() == 0:  # the script itself stays: its end would be the job's
    bomb(kind == "sessions")
if kind != "holder":
    os.close(1)
    os.close(2)
linger()
"""


class Tree:
    """One tree to be: its parameters for `script.python`, and the witness of its life."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.kind = kind
        self._path = folder / f"witness-{kind}"
        os.mkfifo(self._path)
        self._path.chmod(0o666)  # the agent may run under another account
        self._end = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        self.begun = False
        self.gone_at: float | None = None
        """On the monotonic clock."""

    @property
    def parameters(self) -> dict[str, object]:
        return {"script": SCRIPT, "args": [self.kind, str(self._path), str(TOTAL), str(LIFE_S)]}

    def look(self) -> bool:
        """Whether all of it is gone; False as long as it has not begun."""
        while self.gone_at is None and select.select([self._end], [], [], 0)[0]:
            if os.read(self._end, 4096):
                self.begun = True
            elif self.begun:
                self.gone_at = time.monotonic()
            else:
                break
        return self.gone_at is not None

    def close(self) -> None:
        os.close(self._end)
        self._path.unlink()


def all_begun(trees: list[Tree]) -> bool:
    for tree in trees:
        tree.look()
    return all(tree.begun for tree in trees)


def all_gone(trees: list[Tree]) -> bool:
    gone = [tree.look() for tree in trees]  # each of them is looked at: it notes the moment
    return all(gone)
