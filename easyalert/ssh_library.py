"""asyncssh, imported so that no other program is started and nothing of its log is kept.

While it is imported it looks for two libraries that it could use (liboqs, nettle). Python's search for a library runs
compilers and linkers, which get this process's environment, secrets included, and show it to whoever may look. Without
the search it offers a few algorithms less, none of which a server needs.
"""

from __future__ import annotations

import ctypes.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_search() -> Iterator[None]:
    search = ctypes.util.find_library
    ctypes.util.find_library = _nothing
    try:
        yield
    finally:
        ctypes.util.find_library = search


def _nothing(name: str) -> str | None:
    del name
    return None


with _without_search():
    import asyncssh

logging.getLogger("asyncssh").setLevel(logging.WARNING)  # below that it logs commands, hosts and user names

__all__ = ["asyncssh"]
