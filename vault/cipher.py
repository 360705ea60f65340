"""One entry, in and out of AES-256-GCM (contract 4.1)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

IV_BYTES: Final = 12
TAG_BYTES: Final = 16


def decode_base64(text: object) -> bytes | None:
    """Decode strict standard Base64; None for anything else (a lenient decoder turns damage into other bytes)."""
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def encode_base64(raw: bytes) -> str:
    """Encode as standard Base64 with padding."""
    return base64.b64encode(raw).decode("ascii")


def bound_to(name: str) -> bytes:
    """Answer the associated data that ties a ciphertext to its name, so that entries cannot be swapped.

    Damage can leave a lone surrogate in a name: it must fail to open, not crash.
    """
    return name.encode("utf-8", "surrogatepass")


def seal(key: bytes, plaintext: bytes, associated: bytes) -> dict[str, str]:
    """Encrypt under a fresh random IV: `{"iv", "data"}`, Base64, the 16-byte tag at the end of `data`."""
    iv = os.urandom(IV_BYTES)
    return {"iv": encode_base64(iv), "data": encode_base64(AESGCM(key).encrypt(iv, plaintext, associated))}


def unseal(key: bytes, sealed: object, associated: bytes | None) -> bytes | None:
    """Decrypt a `{"iv", "data"}` object; None when its shape, the key or the associated data is wrong."""
    if not isinstance(sealed, Mapping):
        return None
    box: Mapping[str, Any] = sealed
    iv, data = decode_base64(box.get("iv")), decode_base64(box.get("data"))
    if iv is None or data is None or len(iv) != IV_BYTES or len(data) < TAG_BYTES:
        return None
    try:
        return AESGCM(key).decrypt(iv, data, associated)
    except InvalidTag:
        return None
