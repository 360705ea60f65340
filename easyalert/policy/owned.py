"""Files that decide what this agent does: only their owner may have written them, and a change is noticed at once."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from easyalert.errors import PolicyUnusable

T = TypeVar("T")

SIZE_MAX: Final = 1024 * 1024
_SETTLED_S: Final = 1.0
"""A file changed less than this long ago is read again: two changes within one tick of its clock look the same.
So is one with a problem, which may be its folder's."""

_Seen = tuple[int, ...]


@dataclass(frozen=True)
class _Reading(Generic[T]):
    seen: _Seen
    settled: bool
    value: T | None
    problem: str | None
    digest: str | None


class Owned(Generic[T]):
    """One such file, read with `read` and kept until it changes. Not shared between threads."""

    def __init__(
        self, path: Path, read: Callable[[bytes, Path], T], *, required: bool, account: int | None = None
    ) -> None:
        """`required`: somebody has named the file, so that its absence is a problem.

        `account`: the uid that may own it, besides root; None: this process's own.
        """
        self.path = path
        self._account = os.geteuid() if account is None else account
        self.required = required
        self._read = read
        self._last: _Reading[T] | None = None
        self.was_there = False
        """This process has seen it: also where it is gone by now."""

    @property
    def digest(self) -> str | None:
        """SHA-256 of what was read last, hexadecimal; None when nothing was."""
        return None if self._last is None else self._last.digest

    def current(self) -> T | None:
        """What the file says now; None: there is no file, and need not be.

        Raises PolicyUnusable when it is missing though required, cannot be read, is open to others, or is broken.
        """
        try:
            seen = _identity(self.path.stat())
        except FileNotFoundError:
            self._last = None
            if self.path.is_symlink():
                raise PolicyUnusable(f"{self.path} is a link to a file that does not exist") from None
            if self.required:
                raise PolicyUnusable(
                    f"{self.path} does not exist: write it, or take its name out of the settings"
                ) from None
            return None
        except OSError as error:
            self._last = None
            raise PolicyUnusable(f"{self.path} cannot be read ({error.strerror})") from None
        self.was_there = True
        if self._last is None or not self._last.settled or self._last.seen != seen:
            self._last = self._look()
        if self._last.problem is not None:
            raise PolicyUnusable(self._last.problem)
        return self._last.value

    def _look(self) -> _Reading[T]:
        seen: _Seen = ()
        digest = None
        try:
            content, found = _content(self.path, self._account)
            seen = _identity(found)
            settled = time.time() - found.st_ctime > _SETTLED_S
            digest = hashlib.sha256(content).hexdigest()
            return _Reading(seen, settled, self._read(content, self.path), None, digest)
        except PolicyUnusable as error:
            return _Reading(seen, settled=False, value=None, problem=str(error), digest=digest)


def _identity(found: os.stat_result) -> _Seen:
    return (
        *(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns),
        *(found.st_mode, found.st_uid, found.st_gid),
    )


def _content(path: Path, account: int) -> tuple[bytes, os.stat_result]:
    """Raises PolicyUnusable. Every folder on the way counts: whoever can rename one puts another file in its place."""
    try:
        check_way(path, account)
        # not blocking: a pipe in the file's place must not hang the worker
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise PolicyUnusable(f"{path} is no regular file")
            only_the_owners(found, path, account)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                content = file.read(SIZE_MAX + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PolicyUnusable(f"{path} cannot be read ({error.strerror})") from None
    except RuntimeError:  # a link that leads to itself
        raise PolicyUnusable(f"{path} cannot be read: its links lead nowhere") from None
    if len(content) > SIZE_MAX:
        raise PolicyUnusable(f"{path} is larger than {SIZE_MAX} bytes")
    return content, found


def check_way(path: Path, account: int) -> None:
    """That nobody else can put another file in the place of `path`. Raises PolicyUnusable, OSError, RuntimeError."""
    for folder in sorted({*path.absolute().parents, *path.resolve().parents}):
        only_the_owners(folder.stat(), folder, account)


def only_the_owners(found: os.stat_result, path: Path, account: int) -> None:
    """Root's or the agent's own, and nobody else may write. In a sticky folder (/tmp) others cannot replace a file."""
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_uid not in {0, account}:
        raise PolicyUnusable(f"{path} belongs to another account (uid {found.st_uid}): chown root {path}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky:
        raise PolicyUnusable(
            f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod go-w {path}"
        )
