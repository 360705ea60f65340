"""Making standard output and error something supervisord can open by name (`/dev/fd/1`), whatever they are.

A pipe of ours, a file, a terminal of ours can be opened again. A socket (systemd gives one), or a pipe or terminal of
another account, cannot: then a small `cat` stands between, and ends when the last writer has.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import time
from typing import Final

_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def make_reopenable() -> list[int]:
    """Prepare descriptors 1 and 2 of this process; returns the pids of the relays that were needed."""
    relays: dict[tuple[int, int], int] = {}
    for descriptor in (1, 2):
        if _can_be_opened(descriptor):
            _append_only(descriptor)
            continue
        # stdout and stderr are mostly one and the same: one relay then, so that their lines keep their order
        found = os.fstat(descriptor)
        identity = (found.st_dev, found.st_ino)
        if identity in relays:
            os.dup2(1, descriptor)
        else:
            relays[identity] = _interpose(descriptor)
    return list(relays.values())


def wait_for(relays: list[int], seconds: float = 2.0) -> None:
    """At the very end: close our side, and let the relays write what is still in their pipes."""
    if not relays:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    end = time.monotonic() + seconds
    for relay in relays:
        with contextlib.suppress(ChildProcessError):  # supervisord reaps every child it finds
            while os.waitpid(relay, os.WNOHANG)[0] == 0 and time.monotonic() < end:
                time.sleep(0.01)


def _can_be_opened(descriptor: int) -> bool:
    try:
        os.close(os.open(f"/dev/fd/{descriptor}", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def _append_only(descriptor: int) -> None:
    # `run >log`: supervisord and each program open the file anew; without append they would write over one another
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)


def _interpose(descriptor: int) -> int:
    reading, writing = os.pipe()
    relay = os.fork()
    if relay == 0:
        try:
            # it outlives the signals that end the agent, and says the agent's last words
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
            os.dup2(descriptor, 1)
            os.dup2(reading, 0)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.closerange(3, 256)
            os.execvpe("cat", ["cat"], {"PATH": os.environ.get("PATH", os.defpath)})  # noqa: S606 - as intended
        finally:
            os._exit(127)
    os.close(reading)
    os.dup2(writing, descriptor)
    os.close(writing)
    return relay
