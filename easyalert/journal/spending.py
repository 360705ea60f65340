"""Signatures that have been used: each lets one job start once on this agent, whatever number its hand-out has.

The control plane counts attempts, so a signature cannot name one; without this memory a job that has run could be
handed out as its next attempt and run again. A signature is called by the job id in it, and remembered until it has
expired, by a clock that was set forward too (`stepping`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from easyalert.journal.cancelling import CancelRequests

_KEPT_LONGER_S: Final = 86_400
"""Beyond the expiry: a clock may be set back."""


@dataclass(frozen=True)
class Spending:
    """The use of a signature."""

    signature: str
    """The job id that was signed."""
    expires_at: float
    """Seconds since the epoch."""


class SpentSignatures(CancelRequests):
    """Raises JournalError."""

    def spent_by(self, signature: str) -> str | None:
        """The key of the row that has started on this signature; None: it has not been used."""
        with self._errors():
            found = self._db.execute("SELECT key FROM spent WHERE signature = ?", (signature,)).fetchone()
        return None if found is None else str(found[0])

    def _spend(self, key: str, spending: Spending) -> bool:
        """Within the transaction of the start. False: another row has used it."""
        self._db.execute("INSERT OR IGNORE INTO spent VALUES (?, ?, ?)", (spending.signature, key, spending.expires_at))
        return self.spent_by(spending.signature) == key

    def _forget_spent(self) -> None:
        self._db.execute("DELETE FROM spent WHERE expires_at < ?", (self._wall() - _KEPT_LONGER_S,))
