"""The vault file as a value: bytes to `Document` and back (contract 4.1). Nothing here knows a key or a disk.

Evolution rule: `salt` and `credentials` are the format of all agents and never change. Everything else at the top level
is kept as it was found. Ours is `meta`, which any other agent may drop, so nothing may depend on its presence:

* `verifier`   `{"iv", "data"}`, a fixed text under the current key: tells a wrong key from damage
* `saltDigest` short digest of the salt: tells a damaged salt from a wrong key
* `generation` rekeys so far, `writes` writes so far
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from vault.cipher import decode_base64, encode_base64

SALT_BYTES: Final = 16

# Far above any honest vault, and small enough to hold a few copies of in memory.
MAX_BYTES: Final = 64 * 1024 * 1024


class MalformedDocumentError(ValueError):
    """The bytes are no vault file. The message is a clause that completes "is damaged: …"."""


def new_salt() -> bytes:
    """Draw the 16 random bytes of a new or rekeyed vault."""
    return os.urandom(SALT_BYTES)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed vault file. `entries` maps a connection id to whatever stands there, of the right shape or not."""

    salt: bytes
    entries: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Encode as one line of JSON without a trailing newline (contract 4.1).

        Raises ValueError when the file would become larger than a reader accepts.
        """
        document = {"salt": encode_base64(self.salt), "credentials": self.entries, **self.foreign, "meta": self.meta}
        raw = json.dumps(document).encode("ascii")
        if len(raw) > MAX_BYTES:
            raise ValueError(f"the vault would grow to {len(raw)} bytes, more than the {MAX_BYTES} allowed")
        return raw

    def counter(self, name: str) -> int:
        """One of our counters in `meta`; 0 when it is missing or is no number."""
        value = self.meta.get(name)
        return value if type(value) is int and value >= 0 else 0

    @property
    def salt_is_damaged(self) -> bool:
        """Whether `meta` remembers another salt than the one found."""
        remembered = self.meta.get("saltDigest")
        return isinstance(remembered, str) and remembered != salt_digest(self.salt)


def salt_digest(salt: bytes) -> str:
    """Digest a salt (which is no secret) for `meta`: short, only to notice damage."""
    return hashlib.sha256(salt).hexdigest()[:16]


def parse(raw: bytes) -> Document:
    """Read a vault file. Raises MalformedDocumentError for whatever is not one; entries are not looked at."""
    document = json_object(raw)
    salt = decode_base64(document.pop("salt", None))
    if salt is None or len(salt) != SALT_BYTES:
        raise MalformedDocumentError(f"its salt is missing or is not the Base64 of {SALT_BYTES} bytes")
    entries = document.pop("credentials", None)
    if not isinstance(entries, dict):
        raise MalformedDocumentError("it has no object of credentials")
    meta = document.pop("meta", None)
    return Document(salt=salt, entries=entries, meta=meta if isinstance(meta, dict) else {}, foreign=document)


def json_object(raw: bytes) -> dict[str, Any]:
    """Read one strict JSON object: UTF-8, no name twice, no NaN. Raises MalformedDocumentError."""
    if not raw.strip():
        raise MalformedDocumentError("it is empty")
    try:
        document = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except MalformedDocumentError:
        raise
    except (ValueError, RecursionError):
        raise MalformedDocumentError("it is not JSON, or only a part of it") from None
    if not isinstance(document, dict):
        raise MalformedDocumentError("it is not a JSON object")
    return document


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    # One flipped bit can make two names equal; the standard decoder would drop the first of them without a word.
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise MalformedDocumentError("it holds the same name twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    # 1e999 would be written as Infinity, and that file nobody could read again.
    number = float(text)
    if not math.isfinite(number):
        raise MalformedDocumentError(f"it holds a number that is too large ({text[:20]})")
    return number


def _refuse_constant(_constant: str) -> NoReturn:
    raise MalformedDocumentError("it is not JSON")
