"""Sealed delivery (feature `sealed`): what the wire carries, how it is made, and how it is opened.

HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, empty AAD, and
`info` = `easyalert/<purpose>/<agentId>/<jobId>`. A sealed value is an object with a member named after the format::

    {"easyalert/sealed/1": {"agentId", "jobId", "keyId", "expiresAt", "enc", "ciphertext"}}

It stands in the place of `params` (purpose `params`; only `timeout` may stand beside it, in clear), or of
`params.credentials` of `system.storeCredential` (purpose `credentials`). Inside is a JSON object that repeats what must
not be changed on the way, with the secret under the purpose's name: `{"actionType", "connectionId", "expiresAt",
"params" | "credentials"}`. Knows no file, clock or setting. docs/sealed.md is for those who write their own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from easyalert.protocol.keytext import KEY_BYTES, exact_base64
from easyalert.protocol.signing import key_id

FORMAT: Final = "easyalert/sealed/1"
LIFETIME_MAX_S: Final = 31 * 86_400
"""A sealed value may be valid for this long at most: agents remember used ones until they expire."""
STORE_CREDENTIAL: Final = "system.storeCredential"
TAG_BYTES: Final = 16

Purpose = Literal["params", "credentials"]

_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_KEY_ID: Final = re.compile(r"[0-9a-f]{16}", re.ASCII)
_EXPIRES_MAX: Final = 2**53
_MEMBERS: Final = frozenset({"agentId", "jobId", "keyId", "expiresAt", "enc", "ciphertext"})


class Malformed(ValueError):  # noqa: N818 - the condition is the name
    """Not a sealed value; the sentence says what is wrong with it, never what it holds."""


class NotOpened(ValueError):  # noqa: N818 - as above
    """The key does not open it: changed on the way, or sealed for another key, purpose, agent or job."""


@dataclass(frozen=True)
class Sealed:
    """A sealed value as it travels. Nothing of it is secret; all of it is authenticated."""

    purpose: Purpose
    agent_id: str
    job_id: str
    key_id: str
    """Of the public key it was sealed to: the first 16 digits of its fingerprint."""
    expires_at: int
    """Seconds since the epoch."""
    enc: bytes
    ciphertext: bytes

    @property
    def info(self) -> bytes:
        """What HPKE binds it to."""
        return f"easyalert/{self.purpose}/{self.agent_id}/{self.job_id}".encode()

    def wire(self) -> dict[str, Any]:
        """The object for JSON."""
        return {
            FORMAT: {
                "agentId": self.agent_id,
                "jobId": self.job_id,
                "keyId": self.key_id,
                "expiresAt": self.expires_at,
                "enc": base64.b64encode(self.enc).decode(),
                "ciphertext": base64.b64encode(self.ciphertext).decode(),
            }
        }


@dataclass(frozen=True)
class Addressed:
    """What a sealed value is for."""

    purpose: Purpose
    agent_id: str
    job_id: str
    action_type: str
    connection_id: str | None
    """Of the job; for credentials, the entry they are stored as."""
    expires_at: int


def fingerprint(public_key: bytes) -> str:
    """How people compare keys: the SHA-256 of the 32 bytes, 64 hexadecimal digits. It begins with the `keyId`."""
    return hashlib.sha256(public_key).hexdigest()


def read_public_key(text: str | None) -> bytes | None:
    """An X25519 public key in standard base64; None for anything else."""
    return None if text is None else exact_base64(text, KEY_BYTES)


def sealed_in(action_type: str, params: dict[str, Any]) -> tuple[Purpose, Any] | None:
    """What stands in `params` and says of itself that it is sealed; None: nothing does. Read it with `read_sealed`."""
    if FORMAT in params:
        return "params", {name: value for name, value in params.items() if name != "timeout"}
    credentials = params.get("credentials")
    if action_type == STORE_CREDENTIAL and isinstance(credentials, dict) and FORMAT in credentials:
        return "credentials", credentials
    return None


def read_sealed(purpose: Purpose, value: Any) -> Sealed:
    """A sealed value from JSON. Raises Malformed."""
    inner = value.get(FORMAT) if isinstance(value, dict) else None
    if not isinstance(inner, dict):
        raise Malformed(f"it must be an object with the one member '{FORMAT}', an object")
    if len(value) != 1:
        raise Malformed("nothing may stand beside what is sealed" + (", but timeout" if purpose == "params" else ""))
    if odd := sorted(_MEMBERS ^ inner.keys()):
        raise Malformed(f"{odd[0][:40]!r} is {'missing' if odd[0] in _MEMBERS else 'no member of it'}")
    expires_at = inner["expiresAt"]
    if type(expires_at) is not int or not 0 <= expires_at <= _EXPIRES_MAX:
        raise Malformed("'expiresAt' must be whole seconds since the epoch")
    enc = exact_base64(inner["enc"], KEY_BYTES) if isinstance(inner["enc"], str) else None
    if enc is None:
        raise Malformed(f"'enc' must be {KEY_BYTES} bytes in base64")
    return Sealed(
        purpose=purpose,
        agent_id=_matching(inner, "agentId", _ID),
        job_id=_matching(inner, "jobId", _ID),
        key_id=_matching(inner, "keyId", _KEY_ID),
        expires_at=expires_at,
        enc=enc,
        ciphertext=_ciphertext(inner["ciphertext"]),
    )


def seal(public_key: bytes, to: Addressed, secret: dict[str, Any]) -> Sealed:
    """Seal `secret` to an agent's key. Raises Malformed when JSON cannot carry it or an id is none."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey  # noqa: PLC0415 - shape needs no keys

    for name, text in (("agent id", to.agent_id), ("job id", to.job_id)):
        if _ID.fullmatch(text) is None:
            raise Malformed(f"the {name} must be 1 to 128 ASCII letters, digits and _ . : -")
    blank = Sealed(to.purpose, to.agent_id, to.job_id, key_id(public_key), to.expires_at, b"", b"")
    try:
        content = json.dumps(_repeated(to) | {to.purpose: secret}, ensure_ascii=False, allow_nan=False).encode()
        box = _suite().encrypt(content, X25519PublicKey.from_public_bytes(public_key), blank.info)
    except (ValueError, RecursionError):
        # also a public key of small order, to which nothing can be sealed
        raise Malformed("JSON cannot carry it (NaN, infinity, half a character), or the key is none") from None
    return Sealed(to.purpose, to.agent_id, to.job_id, blank.key_id, to.expires_at, box[:KEY_BYTES], box[KEY_BYTES:])


def open_sealed(private_key: Any, sealed: Sealed, action_type: str, connection_id: str | None) -> dict[str, Any]:
    """The secret, for a job with this action and connection. `private_key`: an X25519PrivateKey.

    Raises NotOpened; Malformed when what is inside is not as it must be, or is for another action or connection.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above

    try:
        content = _suite().decrypt(sealed.enc + sealed.ciphertext, private_key, sealed.info)
    except (InvalidTag, ValueError):
        raise NotOpened("it does not open") from None
    try:
        inside = json.loads(content)
    except (ValueError, RecursionError):
        raise Malformed("what is inside is no JSON") from None
    purpose = sealed.purpose
    if not isinstance(inside, dict) or not isinstance(inside.get(purpose), dict):
        raise Malformed(f"what is inside must be an object with '{purpose}', an object")
    to = Addressed(purpose, sealed.agent_id, sealed.job_id, action_type, connection_id, sealed.expires_at)
    for name, wanted in _repeated(to).items():
        if name not in inside or inside[name] != wanted:
            raise Malformed(f"it was sealed with another {name} than the job has")
    secret: dict[str, Any] = inside[purpose]
    return secret


def _repeated(to: Addressed) -> dict[str, Any]:
    return {"actionType": to.action_type, "connectionId": to.connection_id, "expiresAt": to.expires_at}


def _matching(inner: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = inner[name]
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise Malformed(f"'{name}' is none")
    return value


def _ciphertext(value: Any) -> bytes:
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raise Malformed("'ciphertext' is no base64") from None
    if len(raw) <= TAG_BYTES or base64.b64encode(raw).decode() != value:
        raise Malformed("'ciphertext' must be base64 of more than 16 bytes, in its one spelling")
    return raw


def _suite() -> Any:
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite  # noqa: PLC0415 - as above

    return Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
