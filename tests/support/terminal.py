"""A program at a terminal of its own: what a person would see there, and what they type."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Sequence


def at_terminal(
    arguments: Sequence[str], typed: Sequence[tuple[str, str]], environment: dict[str, str], *, limit_s: float = 60.0
) -> tuple[int, str]:
    """Run `python ARGUMENTS` at a terminal; after each expected text, type its line. Answers exit code and screen.

    Raises AssertionError when a text does not come within `limit_s`.
    """
    child, terminal = pty.fork()
    if child == 0:
        try:
            signal.alarm(int(limit_s) + 10)
            os.execve(sys.executable, [sys.executable, *arguments], environment)
        finally:
            os._exit(127)
    screen = ""
    try:
        seen = 0
        for expected, line in typed:
            deadline = time.monotonic() + limit_s
            while expected not in screen[seen:]:
                assert time.monotonic() < deadline, f"{expected!r} did not come: {screen!r}"
                more = _read(terminal)
                assert more is not None, f"it ended before {expected!r}: {screen!r}"
                screen += more
            seen = screen.index(expected, seen) + len(expected)
            os.write(terminal, line.encode() + b"\n")
        while (more := _read(terminal)) is not None:
            screen += more
    finally:
        os.close(terminal)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), screen


def _read(terminal: int) -> str | None:
    """What was printed, perhaps nothing yet; None at the end."""
    if not select.select([terminal], [], [], 0.5)[0]:
        return ""
    try:
        raw = os.read(terminal, 65_536)
    except OSError:  # the program's side is closed
        return None
    return raw.decode("utf-8", "replace") if raw else None
