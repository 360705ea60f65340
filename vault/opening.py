"""A document together with a key: which entries open, and what can be said about those that do not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from vault.cipher import bound_to, seal, unseal
from vault.document import Document, salt_digest
from vault.identifiers import is_connection_id
from vault.key import VaultKey

_VERIFIER_TEXT: Final = b"easyalert vault verifier 1"
# The colons keep it apart from every connection id: no entry can be passed off as the verifier, nor the reverse.
_VERIFIER_NAME: Final = "easyalert:vault:verifier"


@dataclass(frozen=True, slots=True)
class OpenedEntry:
    """A decrypted entry.

    `outdated`: written under the previous key, or by an old agent without associated data (contract 4.1).
    """

    plaintext: bytes
    credentials: dict[str, Any]
    previous_key: bool
    outdated: bool


class Opening:
    """One document seen through one key. Immutable; decrypted entries are not kept."""

    def __init__(self, document: Document, key: VaultKey) -> None:
        self.document = document
        self._key = key

    def entry(self, connection_id: str) -> OpenedEntry | None:
        """Decrypt one entry of the document; None when it does not open. KeyError when there is none."""
        raw = self.document.entries[connection_id]
        bound = bound_to(connection_id)
        for previous_key, derived in enumerate(self._derived):
            # Old agents wrote without associated data (contract 4.1, legacy entries).
            for associated in (bound, None):
                plaintext = unseal(derived, raw, associated)
                credentials = None if plaintext is None else _json_object(plaintext)
                if plaintext is not None and credentials is not None:
                    previous = bool(previous_key)
                    return OpenedEntry(plaintext, credentials, previous, outdated=previous or associated is None)
        return None

    @cached_property
    def key_fits(self) -> bool:
        """Whether this key belongs to the document. A document without entries accepts any key."""
        return not self.document.entries or self._verifier_opens or any(map(self.entry, self.document.entries))

    @cached_property
    def awaits_rotation(self) -> bool:
        """Whether something in the document still needs the previous key."""
        if not self._key.has_previous or not self.document.entries:
            return False
        opened = (self.entry(connection_id) for connection_id in self.document.entries)
        return any(entry is not None and entry.previous_key for entry in opened)

    def damaged(self) -> list[str]:
        """Answer the sorted ids of entries that do not open, or under whose name nothing can be asked for."""
        return sorted(name for name in self.document.entries if not is_connection_id(name) or self.entry(name) is None)

    def rewritten(self, key: VaultKey, salt: bytes, *, everything: bool) -> tuple[dict[str, Any], int]:
        """Encrypt anew under `key` and `salt` what is outdated (or `everything` that opens); the rest stays as it is.

        Answers the entries and how many were encrypted anew.
        """
        entries: dict[str, Any] = {}
        count = 0
        for name, raw in self.document.entries.items():
            opened = self.entry(name)
            if opened is None or not (everything or opened.outdated):
                entries[name] = raw
                continue
            # A foreign agent may have put more beside iv and data.
            entries[name] = {**raw, **seal(key.current(salt), opened.plaintext, bound_to(name))}
            count += 1
        return entries, count

    @cached_property
    def _derived(self) -> list[bytes]:
        derived = [self._key.current(self.document.salt)]
        if self._key.has_previous:
            derived.append(self._key.previous(self.document.salt))
        return derived

    @cached_property
    def _verifier_opens(self) -> bool:
        sealed = self.document.meta.get("verifier")
        return any(unseal(key, sealed, bound_to(_VERIFIER_NAME)) == _VERIFIER_TEXT for key in self._derived)


def stamped(document: Document, key: VaultKey, *, rekeyed: bool) -> dict[str, Any]:
    """Answer the `meta` for the next write of `document` under `key`; what others put there stays."""
    return {
        **document.meta,
        "verifier": seal(key.current(document.salt), _VERIFIER_TEXT, bound_to(_VERIFIER_NAME)),
        "saltDigest": salt_digest(document.salt),
        "generation": document.counter("generation") + rekeyed,
        "writes": document.counter("writes") + 1,
    }


def _json_object(plaintext: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(plaintext)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
