"""Changing the API key: the vault, and the agent's key file that is wrapped in the same key.

One behaviour for the admin API, the command line and the agent's start. A process that dies at any point of it leaves
files that open with AGENT_API_KEY and AGENT_API_KEY_PREVIOUS, whichever of the two keys is which; the next start then
finishes. The steps:

1. nothing starts any more (journal note `rekeyed`): workers that run hold the former key;
2. the key file opens with both keys;
3. the vault is replaced by one under the new key, and so is its backup once the new file was read back;
4. the key file opens with the new key only.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from easyalert import wakeup
from easyalert.audit import record
from easyalert.errors import ConfigurationError, JournalError, VaultError
from easyalert.journal import Journal
from easyalert.journal.pause import REKEYED_NOTE, pause_for_rekey
from easyalert.sealing import ensure_key_pair, prepare_rotation
from easyalert.settings import AgentSettings

log = logging.getLogger(__name__)


class RotatedVault(Protocol):
    """The part of the vault that is used here."""

    def rekey(self, new_api_key: str) -> int:
        """Encrypt everything anew; the number of entries. Raises VaultError with nothing changed."""

    def finish_rotation(self) -> int:
        """Encrypt anew what only the previous key opens; the number of entries. Raises VaultError."""

    def settle_backup(self) -> bool:
        """Replace a backup that a rekey has left under the former key. Raises VaultError."""


class Rotation:
    """Takes the agent's files from one API key to the next. Blocks; safe to call from several threads."""

    def __init__(self, settings: AgentSettings, vault: RotatedVault) -> None:
        self._settings = settings
        self._key_file = settings.agent_key_path
        self._vault = vault
        self._api_key = settings.agent_api_key.get_secret_value()
        self._lock = threading.Lock()
        self.rekeyed = False
        """Whether this process has changed the key: others do not know the new one."""

    def rekey(self, new_api_key: str, *, by: str = "the admin API") -> int:
        """Encrypt the vault anew and wrap the key file anew; answer the number of vault entries.

        Raises VaultError with nothing changed. A key file that cannot be written does not stop the vault: nothing can
        replace that one, while jobs sealed to a key file that no longer opens are at worst answered as errors.
        """
        with self._lock:
            former = self._hold_jobs(by)
            prepared = self._prepare(new_api_key)
            try:
                count = self._vault.rekey(new_api_key)
            except BaseException:
                if prepared:
                    self._settle_key_file(self._api_key, new_api_key)
                self._let_jobs_go(former)
                raise
            log.info("the vault was encrypted anew under another API key (%d entries)", count)
            if prepared:
                self._settle_key_file(new_api_key, self._api_key)
            self._api_key = new_api_key
            self.rekeyed = True
            self._record("vault.rekeyed", entries=count, by=by)
            return count

    def finish(self) -> None:
        """At start: finish a rotation that AGENT_API_KEY_PREVIOUS tells of. A failure is logged and seen in /status."""
        try:
            count = self._vault.finish_rotation()
            settled = self._vault.settle_backup()
        except VaultError as error:
            log.warning("%s", error)
            return
        if count:
            self._record("vault.rekeyed", entries=count, by="the agent's start")
            log.info("the rotation of the API key is finished: %d vault entries have the new key now", count)
        if settled:
            log.info("the vault's backup still had the former API key and was replaced")

    def _record(self, kind: str, **fields: object) -> None:
        record(self._settings.journal_path, self._settings.audit_dir, kind, **fields)

    # ---- jobs, meanwhile --------------------------------------------------------------------------------------------

    def _hold_jobs(self, by: str) -> tuple[object] | None:
        """Let nothing start; answers what the note said before, None when there is no journal to say it in."""
        if not self._settings.journal_path.exists():  # opening it would make it
            return None
        try:
            with Journal(self._settings.journal_path) as journal:
                former = journal.note(REKEYED_NOTE)
                pause_for_rekey(journal, time.time(), by=by)
        except JournalError as error:
            log.warning("jobs are not held back during the rekey (%s): those that need credentials fail", error)
            return None
        wakeup.notify(self._settings.wakeup_socket)
        return (former,)

    def _let_jobs_go(self, former: tuple[object] | None) -> None:
        if former is None:
            return
        try:
            with Journal(self._settings.journal_path) as journal:
                journal.leave_note(REKEYED_NOTE, former[0], durable=True)
        except JournalError as error:
            log.warning("the agent stays paused until its restart: %s", error)
        wakeup.notify(self._settings.wakeup_socket)

    # ---- the key file -----------------------------------------------------------------------------------------------

    def _prepare(self, new_api_key: str) -> bool:
        """True: the file opens with both keys now. One that opens with neither is left to the agent's start."""
        if not new_api_key or not new_api_key.strip():
            return False  # the vault refuses it
        try:
            return prepare_rotation(self._key_file, self._api_key, new_api_key)
        except ConfigurationError as error:
            log.warning(
                "the agent's key file keeps the old API key (%s); restart with it in AGENT_API_KEY_PREVIOUS", error
            )
            return False

    def _settle_key_file(self, api_key: str, other: str) -> None:
        try:
            ensure_key_pair(self._key_file, api_key, other)
        except ConfigurationError as error:
            log.warning("the agent's key file still opens with two API keys (%s); the next start ends that", error)
