"""Reasons to take no new jobs for now; each is a sentence for people. Keeps the reserve whole while there is space."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from easyalert.journal import Journal, Reserve
from easyalert.settings import AgentSettings

UNDELIVERED_MAX: Final = 10_000
UNDELIVERED_MAX_BYTES: Final = 256 * 1024 * 1024
_FREE_SHARE_MIN: Final = 0.05
_LOOK_EVERY_S: Final = 2.0


class Brake:
    """Looked at before every poll; looks itself at most every 2 s."""

    def __init__(
        self, settings: AgentSettings, journal: Journal, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = settings.state_dir
        self._min_free = settings.min_free_disk_mb * 1024 * 1024
        self._journal = journal
        self._reserve = Reserve(settings.journal_path)
        self._clock = clock
        self._looked_at: float | None = None
        self._reason: str | None = None

    def reason(self, *, afresh: bool = False) -> str | None:
        """Why no jobs may be taken; None: they may. `afresh`: look now. Raises JournalError."""
        now = self._clock()
        if afresh or self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._reason = self._disk() or self._outbox()
            self._reserve.keep()
        return self._reason

    def _disk(self) -> str | None:
        if self._min_free == 0:
            return None
        free, size = disk_space(self._folder)
        if free >= self._min_free and free >= size * _FREE_SHARE_MIN:
            return None
        return (
            f"the disk that holds {self._folder} has only {free // 1024 // 1024} MB free; "
            f"free some space, or lower MIN_FREE_DISK_MB (0: no limit)"
        )

    def _outbox(self) -> str | None:
        figures = self._journal.figures()
        if figures.undelivered < UNDELIVERED_MAX and figures.undelivered_bytes < UNDELIVERED_MAX_BYTES:
            return None
        return (
            f"{figures.undelivered} results ({figures.undelivered_bytes // 1024 // 1024} MB) wait for the control "
            "plane; see easyalert-agent status for why they are not delivered"
        )


def disk_space(folder: Path) -> tuple[int, int]:
    """Bytes free for this account, and bytes in all, of the file system that holds `folder`. Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
