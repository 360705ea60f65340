"""How the poller is, for the log and for the note `poller` that the heartbeat, the admin API and people read.

The note: `{"state": "ok" | sentence, "paused": sentence | null, "lastPollAt": epoch | null,
"lastError": sentence | null, "lastErrorAt": epoch | null}`.
It is written on a change, and otherwise at most every 5 s: a note costs an fsync.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from easyalert.journal import Journal
from easyalert.runtime import Stop

log = logging.getLogger(__name__)

NOTE: Final = "poller"
_UNCHANGED_EVERY_S: Final = 5.0
_AT_MOST_EVERY_S: Final = 0.5


class Condition:
    """Loops say here what goes wrong and when it is over; repetitions of one sentence are logged once."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.changed = asyncio.Event()
        self._clock = clock
        self._problems: dict[str, str] = {}
        self._paused: str | None = None
        self._key_in_use: str | None = None
        self._last_error: str | None = None
        self._last_error_at: float | None = None
        self._last_poll_at: float | None = None

    def problem(self, part: str, sentence: str) -> None:
        """`part` (a loop's name) does not get on, because of `sentence`."""
        self._last_error, self._last_error_at = sentence, self._clock()
        if self._problems.get(part) != sentence:
            self._problems[part] = sentence
            log.warning("%s: %s", part, sentence)
            self.changed.set()

    def solved(self, part: str) -> None:
        """`part` gets on again."""
        if self._problems.pop(part, None) is not None:
            log.info("%s: works again", part)
            self.changed.set()

    def paused(self, sentence: str | None) -> None:
        """No new jobs are taken, and why; None: they are."""
        if sentence != self._paused:
            self._paused = sentence
            if sentence is None:
                log.info("jobs are taken again")
            else:
                log.warning("no new jobs are taken: %s", sentence)
            self.changed.set()

    def key_in_use(self, sentence: str | None) -> None:
        """Another running agent holds our key, in the control plane's words; None: nobody does."""
        if sentence != self._key_in_use:
            self._key_in_use = sentence
            self.changed.set()

    def polled(self) -> None:
        """The control plane has answered a poll."""
        if self._last_poll_at is None:
            self.changed.set()
        self._last_poll_at = self._clock()

    def note(self) -> dict[str, Any]:
        """The note as it would be written now."""
        return {
            "state": next(iter(self._problems.values()), None) or "ok",
            "paused": self._paused,
            "keyInUse": self._key_in_use,
            "lastPollAt": self._last_poll_at,
            "lastError": self._last_error,
            "lastErrorAt": self._last_error_at,
        }


async def keep_note(condition: Condition, journal: Journal, stop: Stop) -> None:
    """The loop that writes the note. Raises JournalError."""
    written: dict[str, Any] = {}
    while not stop.is_set:
        note = condition.note()
        if note != written:
            journal.leave_note(NOTE, note)
            written = note
        condition.changed.clear()
        if not await stop.wait(_AT_MOST_EVERY_S):
            await stop.wait(_UNCHANGED_EVERY_S - _AT_MOST_EVERY_S, condition.changed)
