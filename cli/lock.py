"""One agent per state directory: a lock that lives as long as the supervising process, over its exec."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from easyalert.errors import ConfigurationError, StateDirectoryInUse

_PID_CHARS: Final = 20
_MODE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def hold(path: Path) -> int:
    """Take the lock and write our pid into it. Returns the descriptor: the lock ends when its last copy is closed.

    Raises StateDirectoryInUse naming the pid of the agent that holds it.
    """
    try:
        descriptor = os.open(path, _MODE, 0o600)
    except OSError as error:
        raise ConfigurationError(f"the lock {path} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = _pid_in(descriptor)
        os.close(descriptor)
        who = "unknown pid" if holder is None else f"pid {holder}"
        raise StateDirectoryInUse(
            f"an agent already runs on {path.parent} ({who}); stop that one, or give this one a STATE_DIR of its own"
        ) from None
    # written over, not anew: on a full disk the block it has is all it gets
    os.pwrite(descriptor, f"{os.getpid()}\n".ljust(_PID_CHARS).encode(), 0)
    return descriptor


def holder_of(path: Path) -> int | None:
    """The pid of the agent that runs on the lock's state directory (0 when it cannot be told); None when none does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # shared: two people asking at once do not take each other for an agent
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _pid_in(descriptor) or 0
    else:
        return None
    finally:
        os.close(descriptor)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    return int(text) if text.isdecimal() else None
