"""Named places where a test has a program of ours die: `reached("fenced")` stands between two steps of delivery.

Nothing happens there but in tests: unless `EASYALERT_CRASH_AT` is in the environment of the process and the program
runs from a source tree with its tests, `reached` is a function that does nothing, chosen once at import. It is no
setting: `.env` is not read for it, and an installed agent has no tests beside its packages.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

VARIABLE: Final = "EASYALERT_CRASH_AT"
"""`POINT[:N]`: die at the N-th time (default: the first). Or the absolute path of a file that holds this: it may be
written while programs run, N counts over all of them, and whoever dies empties it first, so that it happens once."""

POINTS: Final = frozenset(
    {
        "claimed",  # control plane: a hand-out is recorded, its poll not answered
        "offered",  # poller: a poll is answered, nothing is journalled
        "journalled",  # poller: jobs are in the journal, their permit is not asked for
        "acknowledged",  # control plane: an acknowledgement is recorded, not answered
        "permitted",  # poller: the permit has come, it is not in the journal
        "queued",  # poller: jobs may start, Redis has not been told
        "popped",  # worker: a key is out of Redis, the fence is not passed
        "fenced",  # worker: the job is marked as started, its effect has not begun
        "over",  # worker: the effect is over, its result not in the journal
        "done",  # worker: the result is in the journal, nobody has been told
        "reporting",  # poller: results are chosen, not sent
        "recorded",  # control plane: results are recorded, not answered
        "answered",  # poller: results are answered for, still in the outbox
    }
)
_TESTS: Final = Path(__file__).resolve().parents[1] / "tests" / "system" / "test_crash_points.py"


def _nothing(point: str) -> None:
    """Outside tests."""


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _by_value(value: str) -> Callable[[str], None]:
    wanted, _, number = value.partition(":")
    left = int(number or 1)

    def reached(point: str) -> None:
        nonlocal left
        if point == wanted:
            left -= 1
            if not left:
                _die()

    return reached


def _by_file(path: str) -> Callable[[str], None]:
    def reached(point: str) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            wanted, _, number = os.pread(descriptor, 100, 0).decode().strip().partition(":")
            if point != wanted:
                return
            left = int(number or 1) - 1
            os.ftruncate(descriptor, 0)
            if left:
                os.pwrite(descriptor, f"{wanted}:{left}".encode(), 0)
        finally:
            os.close(descriptor)
        if not left:
            _die()

    return reached


def armed(value: str | None, *, tests: Path = _TESTS) -> Callable[[str], None]:
    """What `reached` is under this value of the variable."""
    if not value or not tests.is_file():
        return _nothing
    return _by_file(value) if value.startswith("/") else _by_value(value)


reached: Final = armed(os.environ.get(VARIABLE))
"""To be called with one of POINTS, which the tests reach one by one."""
