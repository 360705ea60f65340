"""Waiting for what another thread or process does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within: float = 10.0, what: str = "the condition") -> T:
    """The first true answer of `probe`; AssertionError after `within` seconds. Looks often: 5 ms apart."""
    end = time.monotonic() + within
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within} s; last seen: {found!r}")
        time.sleep(0.005)
