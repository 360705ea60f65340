"""Writing files that must survive a power cut, with modes nobody else can read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from pathlib import Path


def write_atomically(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` as a whole: temporary file, fsync, rename, fsync of the folder. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _keep_owner(descriptor, path)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _keep_owner(descriptor: int, path: Path) -> None:
    # root writing for the service account (`sudo easyalert-agent …`) must not lock that account out of its file
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            former = path.lstat()
            os.fchown(descriptor, former.st_uid, former.st_gid)


def sync_folder(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> Path:
    """Create `path` as 0700 if it is missing, missing parents too; an existing folder's mode is left alone.

    Raises OSError; PermissionError also when `path` lies where anybody may create it (/tmp) and somebody else did.
    """
    for missing in [folder for folder in (*reversed(path.parents), path) if not folder.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would give parents the umask's mode
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
    if path.parent.stat().st_mode & stat.S_IWOTH and path.lstat().st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "belongs to another user", os.fspath(path))
    return path
