"""Letting go of pages of libraries' files that only the imports have needed.

A page of a file stays mapped, and is charged, from its first use on. Programs that are forked begin without them and
map what they use; the process that has imported everything would keep all that the libraries' beginnings have used.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MADV_DONTNEED: Final = 4
_SMAPS: Final = Path("/proc/self/smaps")


def let_go() -> None:
    """Once, after the imports. What is used again comes back from the file, at the price of a fault.

    Only what has never been written to is let go: of a page with relocations, the file has not what is needed.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(OSError, ValueError):  # without /proc it all stays as it is
        for begin, end in list(untouched(_SMAPS.read_text(encoding="utf-8", errors="replace"))):
            libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


def untouched(smaps: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each mapping of a file that may not be written to, and of which nothing was (proc(5))."""
    place: tuple[int, int] | None = None
    for line in smaps.splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):
            rights, *others = rest.split(maxsplit=4)
            begin, _, end = first.partition("-")
            read_only = rights in {"r--p", "r-xp"} and others[-1].startswith("/")
            place = (int(begin, 16), int(end, 16)) if read_only else None
        elif first == "Anonymous:" and place is not None and rest.split() == ["0", "kB"]:
            yield place
