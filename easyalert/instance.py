"""Which running agent this is (feature `instance`): `<id>.<mark>`.

The id is random and lives in a file of the state directory, outside the journal: a journal that is lost does not make
another agent. The mark is a digest of the machine's boot and of that very file's inode: a cloned machine copies the
file and boots by itself, a copied folder has another inode. So two agents never have the same name, and one that is
started again on its state directory, within the boot, always has.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically
from easyalert.runtime import boot_id

_ID: Final = re.compile(r"[0-9a-f]{32}")
_MARK_DIGITS: Final = 16


def instance_of(path: Path) -> str:
    """The name, from the file at `path`, which is made when it is missing or unusable. Raises ConfigurationError."""
    try:
        found = _read(path)
        if found is None:
            write_atomically(path, secrets.token_hex(16).encode())
            found = _read(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used: {error.strerror}") from None
    if found is None:
        raise ConfigurationError(f"{path} does not keep what is written to it; look at its disk")
    name, inode = found
    mark = hashlib.sha256(f"{boot_id()} {inode}".encode()).hexdigest()[:_MARK_DIGITS]
    return f"{name}.{mark}"


def _read(path: Path) -> tuple[str, int] | None:
    """Id and inode; None when there is no usable file (a power cut may leave an empty one)."""
    try:
        with path.open("rb") as file:
            text, inode = file.read(64).decode("ascii", "replace").strip(), os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return None
    return (text, inode) if _ID.fullmatch(text) else None
