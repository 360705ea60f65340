"""The vault's state, noted for the heartbeat: the processes that talk to the control plane hold no vault key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from easyalert.errors import JournalError
from easyalert.journal import Journal
from easyalert.runtime import Stop
from vault import Vault

log = logging.getLogger(__name__)

NOTE: Final = "vault"
EVERY_S: Final = 10.0


async def watch(
    vault: Vault, journal_path: Path, stop: Stop, *, every_s: float = EVERY_S, threads: bool = True
) -> None:
    """Until the stop: look at the vault, log once what is wrong, keep the note `{"state": word}` current.

    It may block for a moment (0.1 s): in threads, or without any for who is going to fork.
    """
    call = asyncio.to_thread if threads else _at_once
    noted = said = None
    while not stop.is_set:
        found = await call(vault.check)
        if found.state not in {"ok", "empty"} and said != found.sentence:
            log.warning("%s", found.sentence)
        said = found.sentence
        if noted != found.state:
            try:
                await call(_leave, journal_path, found.state)
                noted = found.state
            except JournalError as error:
                log.debug("the vault's state could not be noted: %s", error)
        await stop.wait(every_s)


async def _at_once(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _leave(journal_path: Path, state: str) -> None:
    with Journal(journal_path) as journal:
        journal.leave_note(NOTE, {"state": state})
