"""`easyalert-agent vault export | import`: encrypted backups, in the format of `vault.backup`."""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from cli.cancel import here
from cli.secrets_in import ask, read_file, read_line
from cli.terminal import plain
from cli.vault_looks import opened
from easyalert.audit import record
from easyalert.errors import ConfigurationError, InvalidConnectionId, VaultDamaged, WrongKey
from easyalert.files import sync_folder
from easyalert.runtime import EXIT_DEGRADED, EXIT_OK
from easyalert.sealing import PrivateKey, PublicKey, load_private_key
from easyalert.settings import AgentSettings
from vault.backup import FILE_MAX_BYTES, Backup, parse_backup, sealed_to, sealed_with_passphrase

_PUBLIC_KEY_BYTES = 32


def export(settings: AgentSettings, options: argparse.Namespace) -> int:
    """Write a backup of every entry that opens; exit code 4 when some do not. Raises ConfigurationError, VaultError."""
    recipient = None if options.to is None else _recipient(options.to)
    vault = opened(settings)
    credentials: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for name in vault.names():
        try:
            credentials[name] = vault.get(name)
        except (VaultDamaged, InvalidConnectionId):
            left_out.append(name)
    if not credentials:
        raise ConfigurationError("the vault holds no credentials that open; no backup was written")
    if recipient is not None:
        raw = sealed_to(credentials, recipient)
    else:
        raw = sealed_with_passphrase(
            credentials, _passphrase(options, "passphrase of the backup: ", again="once more: ")
        )
    _write(options.file, raw)
    record(settings.journal_path, settings.audit_dir, "vault.exported", entries=len(credentials), by=here())
    if options.json:
        print(json.dumps({"file": str(options.file), "exported": sorted(credentials), "leftOut": left_out}))
    else:
        print(f"{len(credentials)} entries are in {plain(options.file)}, encrypted")
        for name in left_out:
            print(f"left out, as it does not open: {plain(name)}", file=sys.stderr)
    return EXIT_DEGRADED if left_out else EXIT_OK


def import_(settings: AgentSettings, options: argparse.Namespace) -> int:
    """Bring the entries of a backup into the vault, in one write. Raises ConfigurationError, VaultError."""
    backup = parse_backup(read_file(options.file, FILE_MAX_BYTES))
    credentials = _unlocked(settings, options, backup)
    stored = opened(settings).put_all(credentials, replacing=options.replace)
    for name in stored:
        record(
            settings.journal_path, settings.audit_dir, "credential.stored", connectionId=name, by=f"{here()}, import"
        )
    kept = sorted(set(credentials) - set(stored))
    if options.json:
        print(json.dumps({"imported": stored, "kept": kept}))
    else:
        print(f"{len(stored)} entries were brought back from {plain(options.file)}")
        if kept:
            print(f"kept as they are in the vault (--replace brings them back too): {', '.join(kept)}")
    return EXIT_OK


def _unlocked(settings: AgentSettings, options: argparse.Namespace, backup: Backup) -> dict[str, dict[str, Any]]:
    if backup.recipient is None:
        if options.identity is not None:
            raise ConfigurationError("this backup opens with a passphrase; leave --identity out")
        return backup.open_with_passphrase(_passphrase(options, "passphrase of the backup: "))
    if options.identity is not None:
        return backup.open_with_key(_identity(options.identity))
    secrets = (settings.agent_api_key, settings.agent_api_key_previous)
    own = load_private_key(settings.agent_key_path, [key.get_secret_value() for key in secrets if key is not None])
    if own is None or own.public.text != backup.recipient:
        raise WrongKey(
            "this backup was made for another key than this agent's; give the private key with --identity FILE (PEM)"
        )
    return backup.open_with_key(own)


def _passphrase(options: argparse.Namespace, prompt: str, again: str | None = None) -> str:
    if options.passphrase_file is not None:
        return read_line(options.passphrase_file, as_typed=True)
    return ask(prompt, again=again, otherwise="give the passphrase with --passphrase-file FILE")


def _recipient(text: str) -> PublicKey:
    """A public key: 32 bytes in Base64, as in `agent_key.json`, or a PEM file. Raises ConfigurationError."""
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(text, validate=True)
        if len(raw) == _PUBLIC_KEY_BYTES:
            return PublicKey(raw)
    try:
        key = load_pem_public_key(read_file(Path(text)))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise ConfigurationError(
            "--to is an X25519 public key: 32 bytes in Base64, or a PEM file"
            " (openssl genpkey -algorithm X25519 -out KEY; openssl pkey -in KEY -pubout -out PUBLIC)"
        )
    return PublicKey(key.public_bytes_raw())


def _identity(path: Path) -> PrivateKey:
    try:
        key = load_pem_private_key(read_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise ConfigurationError(f"{plain(path)} is no X25519 private key in PEM without a passphrase")
    return PrivateKey(key)


def _write(path: Path, raw: bytes) -> None:
    """A new file, 0600, durable, or none at all. Raises ConfigurationError; never replaces one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{plain(path)} cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.absolute().parent)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if not isinstance(error, OSError):  # interrupted
            raise
        raise ConfigurationError(f"{plain(path)} cannot be written: {error.strerror}; it was removed") from None
