"""The agent's key pair for sealed delivery: others seal to its public half, only a worker opens with the private one.

It is another pair than that of `agent_key.json` (`easyalert.sealing`), which opens the parameters in the journal and
backups made for this agent: this one is known to the outside, and can be changed at any time without losing those. It
lies in `delivery_key.json`, the private half under a key that is derived from the private key of `agent_key.json`; so a
rotation of AGENT_API_KEY does not touch it, and making or opening it costs no PBKDF2.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically
from easyalert.protocol.keytext import KEY_BYTES, exact_base64
from easyalert.sealing import PrivateKey

_CONTEXT: Final = b"easyalert/delivery-key/1"
_NONCE_BYTES: Final = 12
_WRAPPED_BYTES: Final = KEY_BYTES + 16


def public_delivery_key(path: Path) -> bytes | None:
    """The public half, without any secret; None when there is no whole file."""
    document = _read(path)
    return None if document is None else _field(document, "publicKey", KEY_BYTES)


def ensure_delivery_key(path: Path, agent_key: PrivateKey) -> X25519PrivateKey:
    """The private half. A pair that is missing, damaged or was made under another `agent_key` is replaced by a new one.

    What was sealed to the lost one opens nowhere any more, so a fresh pair is all that helps; a file that does not open
    is kept aside. Raises ConfigurationError when the new one cannot be written.
    """
    found = _load(path, agent_key)
    if found is not None:
        return found
    try:
        if path.exists():
            path.replace(path.with_name(f"{path.name}.unopened-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"))
        return _make(path, agent_key)
    except OSError as error:
        raise _unwritable(path, error) from None


def new_delivery_key(path: Path, agent_key: PrivateKey) -> X25519PrivateKey:
    """Put a new pair in the place of the present one, which is gone then. Raises ConfigurationError."""
    try:
        return _make(path, agent_key)
    except OSError as error:
        raise _unwritable(path, error) from None


def _make(path: Path, agent_key: PrivateKey) -> X25519PrivateKey:
    key = X25519PrivateKey.generate()
    public, nonce = key.public_key().public_bytes_raw(), os.urandom(_NONCE_BYTES)
    wrapped = AESGCM(agent_key.derive(_CONTEXT)).encrypt(nonce, key.private_bytes_raw(), _CONTEXT + public)
    fields = {"publicKey": public, "nonce": nonce, "wrappedPrivateKey": wrapped}
    document = {name: base64.b64encode(raw).decode() for name, raw in fields.items()} | {"madeAt": int(time.time())}
    write_atomically(path, json.dumps(document).encode())
    return key


def _load(path: Path, agent_key: PrivateKey) -> X25519PrivateKey | None:
    document = _read(path)
    if document is None:
        return None
    public = _field(document, "publicKey", KEY_BYTES)
    nonce = _field(document, "nonce", _NONCE_BYTES)
    wrapped = _field(document, "wrappedPrivateKey", _WRAPPED_BYTES)
    if public is None or nonce is None or wrapped is None:
        return None
    try:
        raw = AESGCM(agent_key.derive(_CONTEXT)).decrypt(nonce, wrapped, _CONTEXT + public)
    except InvalidTag:
        return None
    return X25519PrivateKey.from_private_bytes(raw)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _field(document: dict[str, Any], name: str, size: int) -> bytes | None:
    value = document.get(name)
    return exact_base64(value, size) if isinstance(value, str) else None


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the agent's delivery key {path} cannot be written: {error.strerror}")
