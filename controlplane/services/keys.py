"""Agents' keys and operators' tokens: their form, their making, their hashes. No database here.

A key is `ea_agent_` + 8 look-up characters + 32 secret ones + 6 of checksum: 55 bytes, below the 72 at which bcrypt
stops reading. The checksum lets a mistyped or cut key be refused before anything is looked up, and lets scanners
of source code recognise a leaked one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string

import bcrypt

AGENT_KEY_PREFIX = "ea_agent_"
OPERATOR_TOKEN_PREFIX = "ea_op_"  # noqa: S105 - a public prefix, no secret
_ALPHABET = string.ascii_letters + string.digits
_LOOKUP, _SECRET, _CHECKSUM = 8, 32, 6
_KEY = re.compile(rf"{AGENT_KEY_PREFIX}[A-Za-z0-9]{{{_LOOKUP + _SECRET + _CHECKSUM}}}", re.ASCII)
_TOKEN = re.compile(rf"{OPERATOR_TOKEN_PREFIX}[A-Za-z0-9]{{{43 + _CHECKSUM}}}", re.ASCII)
BCRYPT_COST = 10
"""71 ms: the secret has 190 random bits, so the cost guards against nothing but a careless choice of key."""


def new_agent_key() -> str:
    """A fresh key; the caller shows it once and keeps `hash_key` of it."""
    return _with_checksum(AGENT_KEY_PREFIX + _random(_LOOKUP + _SECRET))


def new_operator_token() -> str:
    """A fresh bearer token of 256 random bits."""
    return _with_checksum(OPERATOR_TOKEN_PREFIX + _random(43))


def lookup_prefix(key: str) -> str | None:
    """The public look-up part of a well-formed key, or None for anything else."""
    if _KEY.fullmatch(key) is None or _with_checksum(key[:-_CHECKSUM]) != key:
        return None
    return key[len(AGENT_KEY_PREFIX) : len(AGENT_KEY_PREFIX) + _LOOKUP]


def is_operator_token(token: str) -> bool:
    """Whether the text has the form of an operator's token."""
    return _TOKEN.fullmatch(token) is not None and _with_checksum(token[:-_CHECKSUM]) == token


def hash_key(key: str) -> str:
    """Bcrypt of the whole key. Slow on purpose (0.07 s)."""
    return bcrypt.hashpw(key.encode("ascii"), bcrypt.gensalt(BCRYPT_COST)).decode("ascii")


def verify_key(key: str, hashed: str) -> bool:
    """Whether the key is the hashed one. As slow as `hash_key`."""
    return bcrypt.checkpw(key.encode("ascii"), hashed.encode("ascii"))


def digest(secret: str) -> str:
    """SHA-256, hex: what the cache and the table of tokens hold in place of the secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _with_checksum(body: str) -> str:
    number = int.from_bytes(hashlib.sha256(body.encode("ascii")).digest()[:8])
    tail = ""
    for _ in range(_CHECKSUM):
        number, place = divmod(number, len(_ALPHABET))
        tail += _ALPHABET[place]
    return body + tail
