"""The vault as its users see it: read, replace, delete, rekey (contract 4.3 to 4.5)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from easyalert.errors import EntryNotFound, VaultDamaged, VaultError, VaultUnavailable, WrongKey
from vault import files
from vault.cipher import bound_to, seal
from vault.document import Document, MalformedDocumentError, new_salt, parse
from vault.identifiers import check_connection_id
from vault.key import VaultKey
from vault.opening import Opening, stamped
from vault.state import VaultState

logger = logging.getLogger("vault")

_DOCTOR: Final = "run: easyalert-agent vault doctor"


@dataclass(frozen=True, slots=True)
class _Changed:
    """The document to write next, with how many entries were encrypted anew, and the key it is written with."""

    document: Document
    reencrypted: int
    key: VaultKey
    rekeyed: bool = False


# Makes of the document on disk the next one; None when there is nothing to write.
_Change = Callable[[Opening], _Changed | None]


class Vault:
    """The credentials at `path`. Making one touches no disk; a missing file is an empty vault, made by the first `put`.

    Safe to share between threads and to inherit by fork. Readers take no lock and notice by themselves when another
    process has replaced the file; writers exclude one another and always start from what is on the disk.
    """

    def __init__(self, path: Path, key: VaultKey) -> None:
        self._path = path
        self._key = key
        # One attribute, replaced as a whole: readers in other threads see a matching pair or none.
        self._seen: tuple[files.Stamp, Opening] | None = None

    def names(self) -> list[str]:
        """Answer the sorted ids of all entries, readable or not. Raises VaultDamaged, VaultUnavailable."""
        opening = self._open()
        return sorted(opening.document.entries) if opening else []

    def get(self, connection_id: str) -> dict[str, Any]:
        """Decrypt one entry into a new dict.

        Raises InvalidConnectionId, EntryNotFound, WrongKey (the key opens nothing in the file), VaultDamaged (the file,
        or just this entry), VaultUnavailable.
        """
        check_connection_id(connection_id)
        opening = self._open()
        if opening is None or connection_id not in opening.document.entries:
            raise self._not_found(connection_id)
        opened = opening.entry(connection_id)
        if opened is None:
            self._require_fitting(opening)
            raise VaultDamaged(
                f"the credentials of '{connection_id}' in the vault {self._path} are damaged, all others are not; "
                f"store them again, or {_DOCTOR}"
            )
        return opened.credentials

    def put(self, connection_id: str, credentials: Mapping[str, Any]) -> None:
        """Store an entry, replacing a former one as a whole (contract 4.4).

        Raises InvalidConnectionId, WrongKey and VaultDamaged (nothing is written then), VaultUnavailable, and
        VaultError when `credentials` is no JSON object or does not fit.
        """
        check_connection_id(connection_id)
        plaintext = _encoded(credentials)

        def change(opening: Opening) -> _Changed:
            changed = self._renewed(opening)
            sealed = seal(changed.key.current(changed.document.salt), plaintext, bound_to(connection_id))
            return _with_entries(changed, {**changed.document.entries, connection_id: sealed})

        self._change(change)

    def put_all(self, entries: Mapping[str, Mapping[str, Any]], *, replacing: bool) -> list[str]:
        """Store many entries in one replacement of the file; those that are there are kept unless `replacing`.

        Answers the sorted ids of those stored. Raises as `put`.
        """
        plaintexts = {check_connection_id(name): _encoded(credentials) for name, credentials in entries.items()}
        stored: list[str] = []

        def change(opening: Opening) -> _Changed | None:
            there = opening.document.entries
            stored[:] = sorted(name for name in plaintexts if replacing or name not in there)
            if not stored:
                return None
            changed = self._renewed(opening)
            key = changed.key.current(changed.document.salt)
            sealed = {name: seal(key, plaintexts[name], bound_to(name)) for name in stored}
            return _with_entries(changed, {**changed.document.entries, **sealed})

        self._change(change)
        return stored

    def delete(self, connection_id: str) -> None:
        """Remove an entry, damaged or not. Raises InvalidConnectionId, EntryNotFound, and as `put`."""
        check_connection_id(connection_id)

        def change(opening: Opening) -> _Changed:
            if connection_id not in opening.document.entries:
                raise self._not_found(connection_id)
            changed = self._renewed(opening)
            kept = {name: entry for name, entry in changed.document.entries.items() if name != connection_id}
            return _with_entries(changed, kept)

        self._change(change)

    def rekey(self, new_api_key: str) -> int:
        """Encrypt everything anew under another API key, in one replacement of the file (contract 4.5).

        Answers the number of entries encrypted anew; those that do not open stay as they are. From then on this object
        writes with the new key; other processes are locked out until they are started with it. Raises as `put`; the
        file and this object then still have the old key.
        """
        if not isinstance(new_api_key, str) or not new_api_key.strip():
            raise VaultError("the new API key is empty; nothing was changed")
        return self._change(lambda opening: _reencrypted(opening, self._key.rotated_to(new_api_key)))

    def finish_rotation(self) -> int:
        """With a previous API key: encrypt under the current one what only the previous one opens.

        Answers the number of entries encrypted anew; 0 when there is nothing to do, and nothing is written then.
        Raises as `put`.
        """
        opening = self._open()
        if opening is None:
            return 0
        self._require_fitting(opening)
        if not opening.awaits_rotation:
            return 0

        # Asked again under the lock: another process may have finished it meanwhile.
        return self._change(lambda now: _reencrypted(now, self._key) if now.awaits_rotation else None)

    def settle_backup(self) -> bool:
        """After a rekey that was cut off: replace a backup that is still under the key before it by the present file.

        True: there was one. A backup is only replaced when the file is a later generation and every entry of it opens.
        Raises VaultDamaged, VaultUnavailable; nothing but the backup is ever written.
        """
        if not self._outdated_backup():
            return False
        with files.exclusive(self._path):
            found = files.read(self._path)
            if found is None or not self._outdated_backup():
                return False
            files.replace_backup(self._path, found[0])
            return True

    def _outdated_backup(self) -> bool:
        opening, kept = self._open(), files.read(files.backup_of(self._path))
        if opening is None or kept is None:
            return False
        try:
            former = parse(kept[0])
        except MalformedDocumentError:
            return False  # whatever it is, it is not what a rekey leaves
        document = opening.document
        return (
            former.counter("generation") < document.counter("generation")
            and not opening.damaged()
            and not opening.awaits_rotation
            and set(former.entries) <= set(document.entries)
        )

    def check(self) -> VaultState:
        """Look at everything, decrypt every entry, say what was found. Never raises, never writes."""
        count = 0
        try:
            opening = self._open(tighten=False)
            if opening is None or not opening.document.entries:
                return VaultState("empty", 0, (), f"the vault {self._path} holds no credentials yet")
            count = len(opening.document.entries)
            self._require_fitting(opening)
            return self._judged(opening)
        except WrongKey as error:
            return VaultState("locked", count, (), str(error))
        except VaultDamaged as error:
            return VaultState("damaged", count, (), str(error))
        except VaultUnavailable as error:
            return VaultState("unavailable", count, (), str(error))

    def _judged(self, opening: Opening) -> VaultState:
        count, damaged = len(opening.document.entries), tuple(opening.damaged())
        if damaged:
            sentence = f"{len(damaged)} of {count} entries of the vault {self._path} do not open; {_DOCTOR}"
            return VaultState("damaged", count, damaged, sentence)
        if opening.awaits_rotation:
            return VaultState("ok", count, (), "the vault still has the previous API key; the next write ends that")
        return VaultState("ok", count, (), "every entry of the vault opens")

    def _open(self, *, tighten: bool = True) -> Opening | None:
        """Answer what is on the disk now, from memory when the file did not change; None when there is no file."""
        now = files.stamp(self._path)
        if now is None:
            return None
        seen = self._seen
        while seen is None or seen[0] != now:
            key = self._key
            found = files.read(self._path, tighten=tighten)
            if found is None:
                return None
            raw, now = found
            seen = (now, Opening(self._parsed(raw), key))
            if self._key is key:
                self._seen = seen
            else:
                # A rekey in another thread came between key and file: the pair may not match.
                seen = None
        return seen[1]

    def _change(self, change: _Change) -> int:
        """Do one change under the lock, to the file as it is now; answer how many entries were encrypted anew."""
        with files.exclusive(self._path):
            found = files.read(self._path)
            previous = found[0] if found else None
            document = self._parsed(previous) if previous is not None else Document(salt=new_salt())
            opening = Opening(document, self._key)
            # The one place that decides whether this vault may be written at all.
            self._require_fitting(opening)
            changed = change(opening)
            if changed is None:
                return 0
            if previous is None and not changed.document.entries:
                self._key = changed.key
            else:
                self._write(changed, previous)
            return changed.reencrypted

    def _write(self, changed: _Changed, previous: bytes | None) -> None:
        meta = stamped(changed.document, changed.key, rekeyed=changed.rekeyed)
        try:
            data = replace(changed.document, meta=meta).encode()
        except ValueError as error:
            raise VaultError(f"nothing was stored: {error}") from None
        # The key first: a reader in another thread may meet either file meanwhile, and the new key opens both.
        former, self._key = self._key, changed.key
        try:
            files.replace(self._path, data, previous=previous)
        except BaseException:
            self._key = former
            raise
        finally:
            self._seen = None
        if changed.rekeyed and previous is not None:
            self._drop_former_backup(changed, data)

    def _drop_former_backup(self, changed: _Changed, data: bytes) -> None:
        """A rotated key may be one that leaked: once the new file is known good, no copy under the old one is kept."""
        try:
            found = files.read(self._path)
            if found is None or found[0] != data or not Opening(parse(found[0]), changed.key).key_fits:
                logger.warning("the vault %s could not be read back after the rekey; its backup is kept", self._path)
                return
            files.replace_backup(self._path, data)
        except (VaultUnavailable, MalformedDocumentError) as error:
            # The rekey itself is done. The next write, or the next start, ends what is left.
            logger.warning("the backup of the vault is still encrypted under the former key: %s", error)

    def _renewed(self, opening: Opening) -> _Changed:
        """Bring old entries up to date, and finish a pending rotation on the way."""
        if opening.awaits_rotation:
            return _reencrypted(opening, self._key)
        entries, count = opening.rewritten(self._key, opening.document.salt, everything=False)
        return _Changed(replace(opening.document, entries=entries), count, self._key)

    def _parsed(self, raw: bytes) -> Document:
        try:
            return parse(raw)
        except MalformedDocumentError as error:
            raise VaultDamaged(f"the vault {self._path} is damaged: {error}. {self._what_now()}") from None

    def _require_fitting(self, opening: Opening) -> None:
        if opening.key_fits:
            return
        if opening.document.salt_is_damaged:
            raise VaultDamaged(f"the vault {self._path} is damaged: its salt is not the one it had. {self._what_now()}")
        raise WrongKey(
            f"AGENT_API_KEY does not open the vault {self._path} (entries: {len(opening.document.entries)}); nothing "
            "is written to it. Set the key it was last used with, in AGENT_API_KEY or AGENT_API_KEY_PREVIOUS, and "
            f"restart; if the key is right, the entries are damaged: {_DOCTOR}"
        )

    def _what_now(self) -> str:
        backup = files.backup_of(self._path)
        kept = (
            f"The state before its last write is kept in {backup}"
            if backup.exists()
            else "There is no backup beside it"
        )
        return f"It was left as it is. {kept}; {_DOCTOR}"

    def _not_found(self, connection_id: str) -> EntryNotFound:
        return EntryNotFound(f"the vault {self._path} holds no credentials for '{connection_id}'")


def _reencrypted(opening: Opening, key: VaultKey) -> _Changed:
    # An entry that does not open may belong to another API key with this very salt: while there is one, the salt stays.
    salt = opening.document.salt if opening.damaged() else new_salt()
    entries, count = opening.rewritten(key, salt, everything=True)
    return _Changed(replace(opening.document, salt=salt, entries=entries), count, key, rekeyed=True)


def _with_entries(changed: _Changed, entries: dict[str, Any]) -> _Changed:
    return replace(changed, document=replace(changed.document, entries=entries))


def _encoded(credentials: Mapping[str, Any]) -> bytes:
    if not isinstance(credentials, Mapping) or not all(isinstance(name, str) for name in credentials):
        raise VaultError("credentials are a JSON object with text names; nothing was stored")
    try:
        return json.dumps(dict(credentials), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        # The original message may quote a value.
        raise VaultError("credentials hold something that is not JSON; nothing was stored") from None
