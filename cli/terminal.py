"""What people read: escaped foreign text, durations, colours where there is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

_CODES: Final = {"good": "32", "bad": "31", "warn": "33", "dim": "2", "bold": "1"}


def plain(text: object) -> str:
    """Foreign text on one line: control characters, and those that reorder or hide text, are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in str(text))


def coloured(text: str, colour: str) -> str:
    """`text` in `good`, `bad`, `warn`, `dim` or `bold` on a terminal, as it is elsewhere (and with NO_COLOR)."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def duration(seconds: float | None) -> str:
    """`12 s`, `3 min`, `2 h 5 min`, `4 d 1 h`; `never` for None."""
    if seconds is None:
        return "never"
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with aligned columns; the last column is not padded."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)) + "  " + row[-1]
        for row in rows
    ]
