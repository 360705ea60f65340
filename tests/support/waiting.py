"""Waiting for what another thread or process does, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], *, within: float = 20.0, what: str = "the condition") -> T:
    """The first true answer of `probe`; AssertionError after `within` seconds.

    It looks every 5 ms at first, more rarely the longer it has waited: looking costs those who are waited for.
    The default is longer than a busy machine needs, and shorter than the 25 s of a long poll that nobody ended.
    """
    began = time.monotonic()
    while True:
        found = probe()
        if found:
            return found
        waited = time.monotonic() - began
        if waited > within:
            raise AssertionError(f"{what} did not come true within {within} s; last seen: {found!r}")
        time.sleep(min(max(0.005, waited / 20), 0.05))
