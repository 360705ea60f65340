"""Changing the API key: the vault, and the agent's key file that is wrapped in the same key."""

from __future__ import annotations

import logging
import threading

from easyalert.errors import ConfigurationError, VaultError
from easyalert.sealing import ensure_key_pair, load_private_key
from easyalert.settings import AgentSettings
from vault import Vault

log = logging.getLogger(__name__)


class Rotation:
    """Takes the agent's files from one API key to the next. Blocks; safe to call from several threads."""

    def __init__(self, settings: AgentSettings, vault: Vault) -> None:
        self._key_file = settings.agent_key_path
        self._vault = vault
        self._api_key = settings.agent_api_key.get_secret_value()
        self._lock = threading.Lock()
        self.rekeyed = False
        """Whether this process has changed the key: others do not know the new one."""

    def rekey(self, new_api_key: str) -> int:
        """Encrypt the vault anew and wrap the key file anew; answer the number of vault entries.

        Raises VaultError with nothing changed. The vault goes first: nothing can replace it, while jobs sealed to a key
        file that no longer opens are at worst answered as errors.
        """
        with self._lock:
            count = self._vault.rekey(new_api_key)
            self.rekeyed = True
            log.info("the vault was encrypted anew under another API key (%d entries)", count)
            try:
                self._rewrap(new_api_key)
            except (ConfigurationError, OSError) as error:
                log.warning(
                    "the agent's key file still has the old API key (%s); restart with it in AGENT_API_KEY_PREVIOUS",
                    error,
                )
            self._api_key = new_api_key
            return count

    def finish(self) -> None:
        """At start: finish a rotation that AGENT_API_KEY_PREVIOUS tells of. A failure is logged and seen in /status."""
        try:
            count = self._vault.finish_rotation()
        except VaultError as error:
            log.warning("%s", error)
        else:
            if count:
                log.info("the rotation of the API key is finished: %d vault entries have the new key now", count)

    def _rewrap(self, new_api_key: str) -> None:
        # A file that opens with neither key is left alone: to make a new pair is the agent's start-up's business.
        if self._key_file.exists() and load_private_key(self._key_file, [self._api_key]) is not None:
            ensure_key_pair(self._key_file, new_api_key, self._api_key)
