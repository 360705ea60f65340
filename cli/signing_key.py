"""`easyalert-agent signing-key FILE`: makes the key pair that jobs are signed with, or shows its public half."""

from __future__ import annotations

import argparse
import base64
import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from easyalert.errors import ConfigurationError
from easyalert.protocol.signing import key_id


def main(options: argparse.Namespace) -> int:
    """Print the line for JOB_SIGNATURE_KEYS_FILE. Raises ConfigurationError."""
    path = Path(options.file)
    made = not path.exists()
    key = make(path) if made else load(path)
    public = key.public_key().public_bytes_raw()
    print(f"{base64.b64encode(public).decode()} # {key_id(public)}")
    return 0


def make(path: Path) -> Ed25519PrivateKey:
    """A new key in a new file, 0600. Raises ConfigurationError; never writes over anything."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made ({error.strerror})") from None
    return key


def load(path: Path) -> Ed25519PrivateKey:
    """The key of a file that nobody else can read. Raises ConfigurationError."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigurationError(f"{path} can be read by others: chmod 600 {path}, and better make a new key")
            key = load_pem_private_key(file.read(65_536), None)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist: easyalert-agent signing-key {path} makes a key") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError):
        raise ConfigurationError(f"{path} holds no private key without a passphrase, in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError(f"{path} holds another kind of key: jobs are signed with Ed25519")
    return key
