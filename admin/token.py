"""The admin token: ADMIN_TOKEN, else the one kept in the state directory, made at the first start (contract 6.1)."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from easyalert.files import private_folder, sync_folder
from easyalert.settings import AgentSettings

log = logging.getLogger(__name__)

_RANDOM_BYTES: Final = 32
"""Become 43 URL-safe characters."""
_WEAK_BELOW: Final = 16
_READ_AT_MOST: Final = 4096


def admin_token(settings: AgentSettings) -> str:
    """Answer the token. Never fails: where none can be kept, there is one for this run only, and the log says so."""
    if settings.admin_token is not None:
        token = settings.admin_token.get_secret_value().strip()
        if len(token) < _WEAK_BELOW:
            log.warning("ADMIN_TOKEN has only %d characters and can be guessed; use 32 or more", len(token))
        return token
    path = settings.admin_token_path
    try:
        return _kept(path) or _keep(path, secrets.token_urlsafe(_RANDOM_BYTES))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        log.warning(
            "the admin token file %s cannot be used (%s): nobody can use the admin API until that is mended and "
            "the agent restarted, or ADMIN_TOKEN is set",
            path,
            reason,
        )
        return secrets.token_urlsafe(_RANDOM_BYTES)


def _kept(path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(descriptor, 0o600)
            log.warning("the admin token file %s was open to others and is now 0600; consider a new token", path)
        token = os.read(descriptor, _READ_AT_MOST).decode("ascii").strip()
    finally:
        os.close(descriptor)
    if len(token) < _WEAK_BELOW:
        raise ValueError(f"it holds fewer than {_WEAK_BELOW} characters; delete it to have a new one made")
    return token


def _keep(path: Path, token: str) -> str:
    private_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(token.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never replaces: of two processes at the first start, one makes it and both use it.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)
    return _kept(path) or token
