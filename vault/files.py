"""The vault on disk: reading without following links, one writer at a time, replacement that survives a crash.

Every OSError leaves this module as VaultUnavailable with a sentence for people.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easyalert.errors import VaultUnavailable
from vault.document import MAX_BYTES

logger = logging.getLogger("vault")

LOCK_TIMEOUT_S: Final = 5.0
_LOCK_PAUSE_S: Final = 0.01

OWNER_ONLY: Final = 0o600
_OPEN_TO_OTHERS: Final = 0o077


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of the file from the next without reading it."""

    device: int
    inode: int
    mtime_ns: int
    size: int


def beside(path: Path, suffix: str) -> Path:
    """Answer `vault.json<suffix>` for `vault.json` (the vendor's agent uses `vault.tmp`; ours must never meet it)."""
    return path.with_name(path.name + suffix)


def backup_of(path: Path) -> Path:
    """Where the file as it was before the last write is kept."""
    return beside(path, ".bak")


def stamp(path: Path) -> Stamp | None:
    """Answer the file's present stamp, None when there is no file. Raises VaultUnavailable."""
    with _told(path, "cannot be read"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            return None
        return _stamp(path, found)


def read(path: Path, *, tighten: bool = True) -> tuple[bytes, Stamp] | None:
    """Read the whole file and the stamp of just these bytes; None when there is no file.

    `tighten`: a mode that lets others in becomes 0600, with a warning (contract 4.3). Raises VaultUnavailable.
    """
    with _told(path, "cannot be read"):
        try:
            # Non-blocking, so that a pipe put in the file's place cannot hang the agent; it is refused below.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(descriptor)
            known = _stamp(path, found)
            if tighten and stat.S_IMODE(found.st_mode) & _OPEN_TO_OTHERS:
                _tighten(path, descriptor, stat.S_IMODE(found.st_mode))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_BYTES + 1), known
        finally:
            os.close(descriptor)


@contextmanager
def exclusive(path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Be the only writer of the vault, over threads and processes, by a lock file beside it.

    Creates a missing folder with 0700; the mode of one that exists is nobody's business here. The kernel lets go of the
    lock when its holder dies. Raises VaultUnavailable when another holds it longer than `timeout_s`.
    """
    with _told(path, "cannot be written"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(beside(path, ".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY)
    try:
        _refuse_foreign_lock(lock, path)
        with _told(path, "cannot be written"):
            _keep_owner(lock, path)
            _wait_for(lock, path, timeout_s)
        yield
    finally:
        os.close(lock)


def _refuse_foreign_lock(lock: int, path: Path) -> None:
    # It is given to the vault's owner, who could have linked to it a file of root's.
    found = os.fstat(lock)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise VaultUnavailable(
            f"the vault {path} cannot be written: its lock {beside(path, '.lock')} is no file, or has another name "
            "too; remove it"
        )


def replace(path: Path, data: bytes, *, previous: bytes | None) -> None:
    """Put `data` in the file's place, all of it or nothing; `previous` becomes the backup first. Needs `exclusive`.

    On return both are on the disk. Raises VaultUnavailable with the file as it was.
    """
    with _told(path, "cannot be written"):
        if previous is not None:
            _put_in_place(backup_of(path), previous, successor_of=path)
        _put_in_place(path, data, successor_of=path)
    try:
        _sync_folder(path.parent)
    except OSError as error:
        # The new file is in place, so this is no failed write; only a power cut in the next seconds could undo it.
        logger.warning("vault %s is written, but its folder could not be synchronised: %s", path, error.strerror)


def replace_backup(path: Path, data: bytes) -> None:
    """Put `data` in the backup's place, durably; or raise VaultUnavailable with it as it was. Needs `exclusive`."""
    with _told(path, "has a backup that cannot be written"):
        _put_in_place(backup_of(path), data, successor_of=path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(path: Path, data: bytes, *, successor_of: Path) -> None:
    new = beside(path, ".new")
    # Left over by a writer that died: nobody else uses it while we hold the lock. A link put here is not followed.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, OWNER_ONLY)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, OWNER_ONLY)
            _keep_owner(descriptor, successor_of)
            file.write(data)
            file.flush()
            _outdate(successor_of, descriptor)
            # Without it, a power cut after the rename can leave an empty file under the right name.
            os.fsync(descriptor)
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def _outdate(path: Path, descriptor: int) -> None:
    # The kernel's clock ticks every few milliseconds and inodes are used again: two writes in one tick could leave the
    # same stamp, and readers would keep the older content. So the time always moves on.
    with suppress(FileNotFoundError):
        after = path.lstat().st_mtime_ns + 1
        if os.fstat(descriptor).st_mtime_ns < after:
            os.utime(descriptor, ns=(after, after))


def _keep_owner(descriptor: int, owner_like: Path) -> None:
    # root writing for the service account (`sudo easyalert-agent vault …`) must not lock that account out of its vault.
    if os.geteuid() != 0:
        return
    try:
        model = owner_like.lstat()
    except FileNotFoundError:
        model = owner_like.parent.stat()
    os.fchown(descriptor, model.st_uid, model.st_gid)


def _wait_for(lock: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise VaultUnavailable(
                    f"the vault {path} cannot be written: another process has held its lock for {timeout_s:.0f} s; "
                    f"`fuser {beside(path, '.lock')}` names it"
                ) from None
            time.sleep(_LOCK_PAUSE_S)
        else:
            return


def _tighten(path: Path, descriptor: int, mode: int) -> None:
    try:
        os.fchmod(descriptor, OWNER_ONLY)
    except OSError:
        logger.warning("vault %s has mode %04o and cannot be closed to others: run chmod 600 on it", path, mode)
    else:
        logger.warning("vault %s had mode %04o; it is now 0600", path, mode)


def _stamp(path: Path, found: os.stat_result) -> Stamp:
    if stat.S_ISLNK(found.st_mode):
        raise VaultUnavailable(_link_refused(path))
    if not stat.S_ISREG(found.st_mode):
        raise VaultUnavailable(f"the vault {path} is not a regular file; set VAULT_PATH to one")
    return Stamp(found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _link_refused(path: Path) -> str:
    return f"the vault {path} is a symbolic link, which is refused; set VAULT_PATH to the file itself"


@contextmanager
def _told(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VaultUnavailable(_link_refused(path)) from error
        reason = error.strerror or type(error).__name__
        raise VaultUnavailable(f"the vault {path} {what}: {reason}; the file is as it was") from error
