"""Closing a process to prying and tying it to its parent's life. Few imports: the smallest launchers use it too."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Final

SECRET_VARIABLES: Final = frozenset(
    {
        "AGENT_API_KEY",
        "AGENT_API_KEY_PREVIOUS",
        "AGENT_API_KEY_NEW",
        "ADMIN_TOKEN",
        "REDIS_URL",
        "EASYALERT_CP_DATABASE_URL",
    }
)
"""Those whose values are secrets, and every `…_PROXY`, whose URL may hold a password."""
SUPERVISOR_PID_VARIABLE: Final = "EASYALERT_SUPERVISOR_PID"

_ENVIRONMENT_BEGINS: Final = 47
"""Of `/proc/PID/stat` behind the name: env_start and env_end, the fields 50 and 51 of proc(5), where the name is 2."""
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_SET_CHILD_SUBREAPER: Final = 36


def harden() -> None:
    """No core dumps, and `/proc/PID/environ` and memory closed to other processes of the same account.

    What root, to whom nothing is closed, sees in `environ` holds no secret either: this process has read it by now.
    Inherited by fork, undone by exec: each program calls it first thing.
    """
    _prctl(_PR_SET_DUMPABLE, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    blank_environment()


def blank_environment() -> None:
    """Overwrite the secrets in the block that the kernel shows as `/proc/PID/environ`; `os.environ` keeps its copies.

    What C libraries see with getenv is that block: for them these variables are empty from here on.
    """
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    begin, end = (int(field) for field in fields[_ENVIRONMENT_BEGINS:][:2])
    at = begin
    for entry in ctypes.string_at(begin, end - begin).split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and value and _is_secret(name.decode("utf-8", "replace")):
            ctypes.memset(at + len(name) + 1, 0, len(value))
        at += len(entry) + 1


def _is_secret(name: str) -> bool:
    return name in SECRET_VARIABLES or name.upper().endswith("_PROXY")


def allow_looks() -> None:
    """What `harden` has closed is open to the account's other processes until `harden` is called again."""
    _prctl(_PR_SET_DUMPABLE, 1)


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


def rights() -> int:
    """The effective capabilities of this process, as bits (capabilities(7)); 0 where /proc does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)


def give_up_ambient_rights() -> None:
    """Programs this process executes get no capabilities from it; its own stay."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
