"""The journal's times by the wall clock, brought to a clock that somebody has set.

What decides about running jobs is monotonic. By wall time go the de-duplication memory, start deadlines after a reboot,
the last hour's figures and what people see: a clock set forward by a week would make the agent forget what it has run.
"""

from __future__ import annotations

import json
from typing import Any, Final

from easyalert.journal.file import JournalFile

NOTE: Final = "clock"
NOTICEABLE_S: Final = 1.0

_MOVE_ROWS: Final = """
UPDATE jobs SET received_at = received_at + :step, start_by_at = start_by_at + :step, finished_at = finished_at + :step,
    settled_at = settled_at + :step, cancel_at = cancel_at + :step
WHERE boot_id = :boot
"""
_SIGNED_FOR_MAX_S: Final = 31 * 86_400
"""`protocol.signing.LIFETIME_MAX_S`; not imported, as it would bring its library into every process."""
_REMEMBER_SPENT: Final = """
UPDATE spent SET expires_at = max(expires_at, min(expires_at + :step, :longest))
"""
"""A signature's expiry is its signer's time, so it is not what is moved, but how long its use is remembered: as long as
before by the clock set forward, and when that one is set back again, as long as the signature is good by it."""
_LAST_HOUR: Final = 60


class ClockSteps(JournalFile):
    """Raises JournalError."""

    def follow_clock(self) -> float:
        """Move this boot's times by what the wall clock was set since the last call; returns that, seconds.

        A step is told from time that passed by the clock that counts since the boot. Called every few seconds by one
        process; writes only at a step. Times of an earlier boot stay: nobody knows by which clock they were made. Audit
        entries keep their times too, as those in the chain must: one that tells of the step stands between them.
        """
        ahead = self._wall() - self._monotonic() / 1000
        known = self._ahead_before(self.note(NOTE))
        step = 0.0 if known is None else ahead - known
        if known is not None and abs(step) < NOTICEABLE_S:
            return 0.0
        with self._transaction(wait_for_disk=bool(step)):
            if step:
                self._db.execute(_MOVE_ROWS, {"step": step, "boot": self._boot})
                self._move_minutes(step)
                self._audit("clock.set", {"seconds": round(step, 3)})
                self._db.execute(_REMEMBER_SPENT, {"step": step, "longest": self._wall() + _SIGNED_FOR_MAX_S})
            note = json.dumps({"boot": self._boot, "ahead": ahead})
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (NOTE, note))
        return step

    def _ahead_before(self, note: Any) -> float | None:
        if not isinstance(note, dict) or note.get("boot") != self._boot:
            return None
        ahead = note.get("ahead")
        return float(ahead) if isinstance(ahead, int | float) else None

    def _move_minutes(self, step: float) -> None:
        """Only the last hour of the old clock: whatever else lies in the new one's last hour or future is not of it."""
        now = self._wall()
        old, new, by = int((now - step) // 60), int(now // 60), round(step / 60)
        window = (old - _LAST_HOUR, old)
        # below zero meanwhile: the two hours may overlap
        self._db.execute("UPDATE minutes SET minute = -(minute + ?) WHERE minute BETWEEN ? AND ?", (by, *window))
        self._db.execute("DELETE FROM minutes WHERE minute >= ?", (new - _LAST_HOUR - 1,))
        self._db.execute("UPDATE minutes SET minute = -minute WHERE minute < 0")
