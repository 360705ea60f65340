"""A backup of credentials that leaves the machine: one file, opened by a passphrase or by one recipient's private key.

The file is one JSON object. Everything but `data` is the head, in clear and authenticated::

    {"format": "easyalert-vault-backup", "version": 1, "created": "2026-01-31T18:00:00Z", "entries": 3,
     "lock": {"kind": "passphrase", "salt": B64 of 16 bytes, "n": 65536, "r": 8, "p": 2, "iv": B64 of 12 bytes},
     "data": B64}

* `passphrase`: AES-256-GCM under scrypt(passphrase in UTF-8, salt, n, r, p); the tag at the end of `data`.
* `recipient`: `{"kind": "recipient", "publicKey": B64 of 32 bytes}`; HPKE base mode (RFC 9180), DHKEM(X25519,
  HKDF-SHA256), HKDF-SHA256, AES-256-GCM; `data` is the encapsulated key and the ciphertext.

Associated data (for HPKE: `info`) is `easyalert/vault-backup/1` and the head as JSON with sorted keys and without
spaces. The plaintext is `{"credentials": {"<connection id>": {…}}}`, UTF-8. The API key plays no part: a backup
outlives every rotation.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from easyalert.errors import VaultDamaged, VaultError, WrongKey
from vault.cipher import IV_BYTES, TAG_BYTES, decode_base64, encode_base64
from vault.document import MAX_BYTES, MalformedDocumentError, json_object, new_salt
from vault.identifiers import is_connection_id

FORMAT: Final = "easyalert-vault-backup"
VERSION: Final = 1
PASSPHRASE_MIN_CHARS: Final = 12
FILE_MAX_BYTES: Final = 2 * MAX_BYTES

_CONTEXT: Final = b"easyalert/vault-backup/1"
_SCRYPT: Final = {"n": 65536, "r": 8, "p": 2}
_SCRYPT_MEMORY_MAX: Final = 256 * 1024 * 1024
_SCRYPT_P_MAX: Final = 16


class Sealer(Protocol):
    """A recipient's public key."""

    @property
    def text(self) -> str:
        """Its raw 32 bytes in standard Base64."""

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Encrypt."""


class Opener(Protocol):
    """The private key for it."""

    def open(self, box: bytes, info: bytes) -> bytes:
        """Decrypt. Raises InvalidTag (cryptography)."""


@dataclass(frozen=True)
class Backup:
    """A parsed backup file, still closed."""

    head: dict[str, Any]
    data: bytes

    @property
    def recipient(self) -> str | None:
        """The public key it was made for, Base64; None: it opens with a passphrase."""
        lock = self.head["lock"]
        return lock["publicKey"] if lock["kind"] == "recipient" else None

    def open_with_passphrase(self, passphrase: str) -> dict[str, dict[str, Any]]:
        """The credentials by connection id. Raises WrongKey, VaultDamaged."""
        lock = self.head["lock"]
        if lock["kind"] != "passphrase":
            raise WrongKey("this backup was made for a recipient's key, not for a passphrase")
        key = _derived(passphrase, lock)
        return self._opened(lambda: AESGCM(key).decrypt(decode_base64(lock["iv"]) or b"", self.data, self._associated))

    def open_with_key(self, private_key: Opener) -> dict[str, dict[str, Any]]:
        """The credentials by connection id. Raises WrongKey, VaultDamaged."""
        if self.recipient is None:
            raise WrongKey("this backup was made for a passphrase, not for a recipient's key")
        return self._opened(lambda: private_key.open(self.data, self._associated))

    @property
    def _associated(self) -> bytes:
        return _associated(self.head)

    def _opened(self, decrypt: Callable[[], bytes]) -> dict[str, dict[str, Any]]:
        try:
            plaintext = decrypt()
        except (InvalidTag, ValueError):
            raise WrongKey(
                "the backup does not open: the passphrase or key is another one, or the file is damaged"
            ) from None
        try:
            credentials = json_object(plaintext).get("credentials")
        except MalformedDocumentError:
            credentials = None
        if not isinstance(credentials, dict):
            raise VaultDamaged("the backup opens, but holds no credentials this version understands")
        if not all(is_connection_id(name) and isinstance(value, dict) for name, value in credentials.items()):
            raise VaultDamaged("the backup opens, but holds entries that are no credentials")
        return credentials


def sealed_with_passphrase(credentials: Mapping[str, Mapping[str, Any]], passphrase: str) -> bytes:
    """Make a backup file. Raises VaultError for a passphrase that can be guessed."""
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        raise VaultError(f"a backup's passphrase has {PASSPHRASE_MIN_CHARS} characters or more; nothing was written")
    iv = os.urandom(IV_BYTES)
    lock = {"kind": "passphrase", "salt": encode_base64(new_salt()), **_SCRYPT, "iv": encode_base64(iv)}
    head = _head(len(credentials), lock)
    return _file(head, AESGCM(_derived(passphrase, lock)).encrypt(iv, _plaintext(credentials), _associated(head)))


def sealed_to(credentials: Mapping[str, Mapping[str, Any]], recipient: Sealer) -> bytes:
    """Make a backup file that only the holder of the recipient's private key opens."""
    head = _head(len(credentials), {"kind": "recipient", "publicKey": recipient.text})
    return _file(head, recipient.seal(_plaintext(credentials), _associated(head)))


def parse_backup(raw: bytes) -> Backup:
    """Read a backup file. Raises VaultDamaged."""
    try:
        head = json_object(raw)
    except MalformedDocumentError as error:
        raise VaultDamaged(f"this is no backup of a vault: {error}") from None
    if head.get("format") != FORMAT:
        raise VaultDamaged("this is no backup of a vault: its format is another one")
    if head.get("version") != VERSION:
        raise VaultDamaged("this backup has a format this version does not know; use a newer easyalert-agent")
    data = decode_base64(head.pop("data", None))
    if data is None or len(data) < TAG_BYTES or not _is_lock(head.get("lock")):
        raise VaultDamaged("the backup is damaged, or only a part of it")
    return Backup(head, data)


def _is_lock(lock: object) -> bool:
    if not isinstance(lock, dict):
        return False
    if lock.get("kind") == "recipient":
        return isinstance(lock.get("publicKey"), str)
    n, r, p = (lock.get(name) for name in ("n", "r", "p"))
    if lock.get("kind") != "passphrase" or not (type(n) is int and type(r) is int and type(p) is int):
        return False
    # A file that asks for gigabytes of memory, or hours, is no backup of ours.
    affordable = n > 1 and n & (n - 1) == 0 and r > 0 and 128 * n * r <= _SCRYPT_MEMORY_MAX and 0 < p <= _SCRYPT_P_MAX
    iv, salt = decode_base64(lock.get("iv")), decode_base64(lock.get("salt"))
    return affordable and iv is not None and len(iv) == IV_BYTES and bool(salt)


def _derived(passphrase: str, lock: Mapping[str, Any]) -> bytes:
    salt = decode_base64(lock["salt"]) or b""
    secret = passphrase.encode("utf-8", "surrogatepass")
    return Scrypt(salt=salt, length=32, n=lock["n"], r=lock["r"], p=lock["p"]).derive(secret)


def _head(entries: int, lock: Mapping[str, Any]) -> dict[str, Any]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"format": FORMAT, "version": VERSION, "created": created, "entries": entries, "lock": dict(lock)}


def _associated(head: Mapping[str, Any]) -> bytes:
    return _CONTEXT + json.dumps(head, sort_keys=True, separators=(",", ":")).encode("ascii")


def _plaintext(credentials: Mapping[str, Mapping[str, Any]]) -> bytes:
    return json.dumps({"credentials": {name: dict(entry) for name, entry in credentials.items()}}).encode("ascii")


def _file(head: Mapping[str, Any], data: bytes) -> bytes:
    return json.dumps({**head, "data": encode_base64(data)}).encode("ascii") + b"\n"
