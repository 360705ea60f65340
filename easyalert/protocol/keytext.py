"""Keys and signatures as text: standard base64, in the one spelling there is of each."""

from __future__ import annotations

import base64
import binascii
from typing import Final

KEY_BYTES: Final = 32
"""Of an Ed25519 key, public or private."""
SIGNATURE_BYTES: Final = 64


def exact_base64(text: str, size: int) -> bytes | None:
    """The bytes of standard base64 in its only spelling; None for anything else, or another number of bytes."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size and base64.b64encode(raw).decode() == text else None
