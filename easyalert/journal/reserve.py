"""Space kept for the results of running jobs, for when the disk is full.

Two parts, both made while there is space, together 14 MB:

* The journal's write-ahead log is 12 MB long from the start. SQLite writes it over from its beginning after each
  checkpoint (every 4 MB), and what follows the last valid frame means nothing to it, so zeros at its end are free space
  that nobody else can take. There results are recorded.
* `STATE_DIR/reserve`, 2 MB, is given back to the disk piece by piece when a small write has failed nevertheless, and
  that write is tried again at once: results that were cut, the control plane's answers, the next start of the agent.
  Whoever fills the disk may be as quick as that, so it is done again until it succeeds or nothing is left.

New jobs and notes get nothing of the second part. Several processes may use it at once; each takes a piece under the
file's lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOG_BYTES: Final = 12 * 1024 * 1024
RESERVE_BYTES: Final = 2 * 1024 * 1024
SMALL_BYTES: Final = 65_536
"""Larger writes get nothing of the reserve: they are cut first."""
_PIECE_BYTES: Final = 128 * 1024
"""Small, because whoever fills the disk takes what is left of it."""
_SHORT_BYTES: Final = 20 * 1024 * 1024
_LEFT_BYTES: Final = 8 * 1024 * 1024
"""What has to be free beside it when it is made: it must not be what fills the disk."""


class Reserve:
    """One journal's. No method raises."""

    def __init__(self, journal: Path) -> None:
        self.path = journal.with_name("reserve")
        self._log = journal.with_name(f"{journal.name}-wal")

    def keep(self) -> bool:
        """Make it whole, as far as there is space. True when it is."""
        with contextlib.suppress(OSError):
            with self._locked(os.O_RDWR | os.O_CREAT) as file:
                whole = _fill(file, RESERVE_BYTES)
            # no log: the journal is not open, and has nothing to be written
            log = os.open(self._log, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                return _fill(log, LOG_BYTES) and whole
            finally:
                os.close(log)
        return False

    def short(self) -> bool:
        """True when a large result may not fit onto the disk as it comes."""
        with contextlib.suppress(OSError):
            return free_bytes(self.path.parent) < _SHORT_BYTES
        return False

    def give_back(self, wanted: int = 0) -> bool:
        """Give a piece back to the disk for a write of about `wanted` bytes. False: there is none, or none for that."""
        with contextlib.suppress(OSError), self._locked(os.O_RDWR) as file:
            size = os.fstat(file).st_size
            if size > 0 and wanted <= SMALL_BYTES:
                os.ftruncate(file, max(0, size - _PIECE_BYTES - wanted))
                return True
        return False

    @contextlib.contextmanager
    def _locked(self, flags: int) -> Iterator[int]:
        file = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)


def _fill(file: int, size: int) -> bool:
    if os.fstat(file).st_size >= size:
        return True
    found = os.fstatvfs(file)
    if found.f_bavail * found.f_frsize < size + _LEFT_BYTES:
        return False
    os.posix_fallocate(file, 0, size)
    return True


def free_bytes(folder: Path) -> int:
    """What this account may still write on the disk that holds `folder`. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
