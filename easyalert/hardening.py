"""Closing a process to prying and tying it to its parent's life. Few imports: the smallest launchers use it too."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

SUPERVISOR_PID_VARIABLE: Final = "EASYALERT_SUPERVISOR_PID"

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


def harden() -> None:
    """No core dumps, and `/proc/PID/environ` and memory closed to other processes of the same account.

    Inherited by fork, undone by exec: each program calls it first thing.
    """
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def die_with_parent(signal_number: int = signal.SIGTERM) -> None:
    """Have the kernel signal this process when its parent dies. The caller compares `os.getppid()` afterwards.

    Lasts over an exec, is undone by a fork.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def follow_supervisor() -> bool:
    """Have SIGTERM sent to this process when its supervisor dies. False: it is dead already.

    The supervisor's pid comes from its environment variable: it may have died while this process was still importing,
    and the parent is somebody else by now.
    """
    named = os.environ.get(SUPERVISOR_PID_VARIABLE, "")
    expected = int(named) if named.isdecimal() else os.getppid()
    die_with_parent(signal.SIGTERM)
    return os.getppid() == expected


def become_subreaper() -> None:
    """Orphaned descendants, double-forked daemons included, become children of this process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
