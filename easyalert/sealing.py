"""The agent's key pair and sealed boxes: parameters rest encrypted in the journal and open only inside a worker.

HPKE base mode (RFC 9180) with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; the same suite the control plane's
feature `sealed` uses. The private key lies in `agent_key.json`, itself encrypted under a key derived from AGENT_API_KEY
(PBKDF2, as the vault), so that the file alone opens nothing. The poller needs the public half only.

While the API key is being changed, the private key lies in the file twice: `next` holds it under the new API key, in
the same three fields. So at every moment of a rotation each of the two API keys opens the file.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import time
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ITERATIONS: Final = 600_000
_WRAP_CONTEXT: Final = b"easyalert/agent-key/1"
_DIGEST_CONTEXT: Final = b"easyalert/audit/params/1"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_NEXT: Final = "next"


class PublicKey:
    """Seals. `info` binds a box to its purpose: `easyalert/<purpose>/<job id>`."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._key = X25519PublicKey.from_public_bytes(raw)

    @property
    def text(self) -> str:
        """The public key for the wire: raw 32 bytes in standard base64."""
        return base64.b64encode(self.raw).decode()

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Encapsulated key and ciphertext, as one byte string."""
        return _SUITE.encrypt(plaintext, self._key, info)


class PrivateKey:
    """Opens what was sealed to its public half. Its repr shows nothing."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key
        self._digest_key: bytes | None = None
        self.public = PublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def open(self, box: bytes, info: bytes) -> bytes:
        """Raises InvalidTag (cryptography) when the box is not for this key, purpose or job."""
        return _SUITE.decrypt(box, self._key, info)

    def derive(self, context: bytes) -> bytes:
        """32 bytes that only the holder of this private key can make, others for every context (HKDF-SHA256)."""
        return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=context).derive(
            self._key.private_bytes_raw()
        )

    def digest(self, data: bytes) -> str:
        """HMAC-SHA256 of `data` under a key that only the holder of this private key can make: hex.

        For the audit record: equal parameters have equal digests, over rotations of the API key too, and nobody who
        reads the record can find short secrets by trying them out.
        """
        if self._digest_key is None:
            self._digest_key = self.derive(_DIGEST_CONTEXT)
        return hmac.digest(self._digest_key, data, "sha256").hex()


def rehearse() -> None:
    """Have the library load what sealing and opening need (1 MB), once for all processes that are forked later."""
    key = PrivateKey(X25519PrivateKey.generate())
    key.open(key.public.seal(b"", b""), b"")


def seal_info(job_id: str) -> bytes:
    """The `info` of parameters in the journal."""
    return b"easyalert/journal/" + job_id.encode("utf-8", "surrogatepass")


def load_public_key(path: Path) -> PublicKey:
    """The public half, without any secret. Raises ConfigurationError when the file is missing or damaged."""
    return PublicKey(_field(_read(path), "publicKey", path, _KEY_BYTES))


def load_private_key(path: Path, api_keys: list[str]) -> PrivateKey | None:
    """The private key, opened with the first of `api_keys` that fits; None when none does."""
    document = _read(path)
    public = _field(document, "publicKey", path, _KEY_BYTES)
    for wrapping in _wrappings(document, path):
        for name, size in (("salt", None), ("nonce", _NONCE_BYTES), ("wrappedPrivateKey", None)):
            _field(wrapping, name, path, size)
        for api_key in api_keys:
            raw = _unwrapped(wrapping, api_key, path)
            if raw is None:
                continue
            found = PrivateKey(X25519PrivateKey.from_private_bytes(raw))
            if found.public.raw != public:  # the poller would seal what no worker can open
                raise _damaged(path, "publicKey")
            return found
    return None


def prepare_rotation(path: Path, api_key: str, new_api_key: str) -> bool:
    """Have the key file open with either of two API keys, until `ensure_key_pair` settles on one.

    False: there is no file, or it does not open with `api_key`; nothing was written then. Raises ConfigurationError.
    """
    try:
        found = load_private_key(path, [api_key]) if path.exists() else None
        if found is None:
            return False
        _store(path, found._key, api_key, new_api_key)  # noqa: SLF001 - same module's class
    except OSError as error:
        raise ConfigurationError(f"the agent's key file {path} cannot be written: {error.strerror}") from None
    return True


def ensure_key_pair(path: Path, api_key: str, previous_api_key: str | None = None) -> bool:
    """Make the key pair at the first start; wrap it anew after a rotation of the API key.

    Returns False when an existing pair could not be opened with either key and a fresh one took its place: parameters
    sealed to the old one cannot be opened any more, and their jobs are answered as errors. The old file is kept aside.
    Raises ConfigurationError when the file is damaged or cannot be written.
    """
    try:
        return _ensure(path, api_key, previous_api_key)
    except OSError as error:
        raise ConfigurationError(f"the agent's key file {path} cannot be written: {error.strerror}") from None


def _ensure(path: Path, api_key: str, previous_api_key: str | None) -> bool:
    if not path.exists():
        _store(path, X25519PrivateKey.generate(), api_key)
        return True
    found = load_private_key(path, [api_key])
    if found is not None and _NEXT not in _read(path):
        return True
    if found is None and previous_api_key:
        found = load_private_key(path, [previous_api_key])
    if found is not None:
        _store(path, found._key, api_key)  # noqa: SLF001 - same module's class
        return True
    path.replace(path.with_name(f"{path.name}.unopened-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"))
    _store(path, X25519PrivateKey.generate(), api_key)
    return False


def _store(path: Path, key: X25519PrivateKey, api_key: str, next_api_key: str | None = None) -> None:
    document: dict[str, object] = {"publicKey": _text(key.public_key().public_bytes_raw()), **_wrapping(key, api_key)}
    if next_api_key is not None:
        document[_NEXT] = _wrapping(key, next_api_key)
    write_atomically(path, json.dumps(document).encode())


def _wrapping(key: X25519PrivateKey, api_key: str) -> dict[str, str]:
    salt, nonce = os.urandom(16), os.urandom(_NONCE_BYTES)
    wrapped = AESGCM(_derive(api_key, salt)).encrypt(nonce, key.private_bytes_raw(), _WRAP_CONTEXT)
    return {"salt": _text(salt), "nonce": _text(nonce), "wrappedPrivateKey": _text(wrapped)}


def _wrappings(document: dict[str, object], path: Path) -> list[dict[str, object]]:
    following = document.get(_NEXT)
    if following is None:
        return [document]
    if not isinstance(following, dict):
        raise _damaged(path, _NEXT)
    return [document, following]


def _unwrapped(wrapping: dict[str, object], api_key: str, path: Path) -> bytes | None:
    salt, nonce = _field(wrapping, "salt", path), _field(wrapping, "nonce", path, _NONCE_BYTES)
    wrapped = _field(wrapping, "wrappedPrivateKey", path)
    try:
        return AESGCM(_derive(api_key, salt)).decrypt(nonce, wrapped, _WRAP_CONTEXT)
    except InvalidTag:
        return None


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _derive(api_key: str, salt: bytes) -> bytes:
    return PBKDF2HMAC(algorithm=SHA256(), length=32, salt=salt, iterations=_ITERATIONS).derive(api_key.encode())


def _read(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the agent's key file {path} cannot be read ({type(error).__name__}); move it away and start again"
        ) from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"the agent's key file {path} is damaged; move it away and start the agent again")
    return document


def _field(document: dict[str, object], name: str, path: Path, size: int | None = None) -> bytes:
    value = document.get(name)
    if not isinstance(value, str):
        raise _damaged(path, name)
    try:
        found = base64.b64decode(value, validate=True)
    except ValueError:
        raise _damaged(path, name) from None
    if size is not None and len(found) != size:
        raise _damaged(path, name)
    return found


def _damaged(path: Path, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"the agent's key file {path} is damaged at '{name}'; move it away and start the agent again"
    )
