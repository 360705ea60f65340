"""Secrets that have to wait in the database lie there encrypted: its files, log and backups never hold them in clear.

The key is a file of the data folder, made at the first start; it is in no backup of the database. AES-256-GCM, bound
to the row it belongs to.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.orm import Session

from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_INFO: Final = "at_rest"


class AtRest:
    """Seals and opens values with one key. Its repr shows nothing."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, row: str, value: Any) -> str:
        """Any JSON value as base64 text, bound to the row's id."""
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, json.dumps(value).encode(), row.encode())).decode()

    def open(self, row: str, sealed: str) -> Any:
        """The value again. Raises LookupError when it was sealed with another key or for another row."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return json.loads(self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], row.encode()))
        except (InvalidTag, ValueError, TypeError):
            raise LookupError("sealed with another key") from None


def load_or_make_key(path: Path) -> bytes:
    """The data folder's key. Raises ConfigurationError when the file is not one, OSError when it cannot be used."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = os.urandom(_KEY_BYTES)
        write_atomically(path, key)
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            f"{path} is damaged: restore it, or move it away; credentials waiting for delivery must then be sent again"
        )
    return key


def info_with(at_rest: AtRest) -> dict[str, Any]:
    """What a session is given so that `at_rest_of` finds it."""
    return {_INFO: at_rest}


def at_rest_of(session: Session) -> AtRest:
    """The sealer of the session's database."""
    found: AtRest = session.info[_INFO]
    return found
