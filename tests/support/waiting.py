"""Waiting for what another thread or process does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within: float = 20.0, what: str = "the condition") -> T:
    """The first true answer of `probe`, looked at every 5 ms; AssertionError after `within` seconds.

    The default is longer than a busy machine needs, and shorter than the 25 s of a long poll that nobody ended.
    """
    end = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within} s; last seen: {found!r}")
        time.sleep(0.005)
