"""Forgets delivered rows when nobody can send their jobs again: after 24 hours, 7 days where receipts are spoken."""

from __future__ import annotations

from typing import Final

from easyalert.protocol import features
from poller.parts import Parts

PLAIN_S: Final = 24 * 3600.0
WITH_RECEIPTS_S: Final = 7 * 24 * 3600.0
_EVERY_S: Final = 3600.0
_PIECE: Final = 500


async def keep_pruned(parts: Parts) -> None:
    """The loop: hourly, from registration on. Raises JournalError."""
    session, stop = parts.session, parts.stop
    await stop.wait(None, session.ready)
    while not stop.is_set:
        # while a new registration is under way: as long as may be needed
        plain = session.ready.is_set() and not session.current.has(features.RECEIPTS)
        age = PLAIN_S if plain else WITH_RECEIPTS_S
        while parts.journal.prune(age, _PIECE) == _PIECE and not stop.is_set:
            await stop.wait(0.05)  # others want to write too
        await stop.wait(_EVERY_S)
