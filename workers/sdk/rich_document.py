"""A rich message before it has a medium, and how its texts are made to fit.

Texts in a `Document` are raw: a layout escapes each of them, once, where it puts it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from easyalert.protocol.results import json_safe

_URL_MAX_CHARS: Final = 2_000
# Control characters but tab and newline, and marks that reorder or hide text: a message must look like what it says.
_UNWANTED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_IN_NO_URL: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\\"'<>`{}|^\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")


class Archetype(StrEnum):
    """What kind of output it is; the names are those of `outputType`."""

    TABULAR = "tabular"
    DB_MODIFY = "db_modify"
    HTTP_RESPONSE = "http_response"
    POD_LOGS = "pod_logs"
    ISSUE_TRACKER = "issue_tracker"
    INCIDENT = "incident"
    TERMINAL = "terminal"
    CONFIRMATION = "confirmation"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Room:
    """How much a medium shows (contract 3.13)."""

    code_chars: int
    code_lines: int
    rows: int
    columns: int
    cell_chars: int
    pods: int
    pod_lines: int
    text_chars: int = 500
    tags: int = 8

    def smaller(self, share: float) -> Room:
        """For a message that came out too large: code and tables shrink, the rest is small as it is."""
        return replace(
            self,
            code_chars=max(100, int(self.code_chars * share)),
            code_lines=max(5, int(self.code_lines * share)),
            rows=max(1, int(self.rows * share)),
            cell_chars=max(10, int(self.cell_chars * share)),
            text_chars=max(100, int(self.text_chars * share)),
        )


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Names and values, one line each."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Code:
    """Text of fixed width, already cut to the lines that are shown; a layout cuts its characters."""

    text: str
    heading: str = ""


@dataclass(frozen=True)
class Table:
    """Cells are texts of one line, already cut. `note` says what is left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


Part = Text | Facts | Code | Table


@dataclass(frozen=True)
class Document:
    """One message."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """Where it comes from: workflow, action, severity, status."""
    parts: tuple[Part, ...]
    url: str | None = None
    """One link, http or https."""
    link_text: str = "Open"
    timestamp: str = ""
    severity: str = ""


def clean(text: str) -> str:
    """`text` without what no reader sees: control characters, terminal colours, marks that turn or hide text."""
    return _UNWANTED.sub("", _COLOURS.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))


def as_words(value: Any) -> str:
    """A JSON value as a person reads it: texts as they are, nothing for null, everything else as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(json_safe(value), ensure_ascii=False, allow_nan=False))


def as_line(value: Any, limit: int) -> str:
    """As `as_words`, on one line of at most `limit` characters."""
    # of a huge text only the beginning is looked at
    words = " ".join(as_words(value if not isinstance(value, str) else value[: 10 * limit]).split())
    return words if len(words) <= limit else f"{words[: max(1, limit - 1)].rstrip()}…"


def pretty(value: Any) -> str:
    """A JSON value over several lines."""
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(json_safe(value), ensure_ascii=False, allow_nan=False, indent=2))


def web_address(value: Any) -> str | None:
    """`value` if it is an http or https address that can be linked in every medium, else None."""
    if not isinstance(value, str):
        return None
    url = value.strip()
    if not 0 < len(url) <= _URL_MAX_CHARS or _IN_NO_URL.search(url):
        return None
    try:
        parts = urlsplit(url)
        url.encode()
        usable = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return None
    return url if usable else None


def cut_lines(text: str, limit: int, *, last: bool = False) -> str:
    """At most `limit` lines with one that says how many are missing; `last`: the end is kept, else both ends are."""
    lines = text.split("\n")
    if len(lines) <= limit:
        return text
    missing = len(lines) - limit
    gap = f"[… {missing} {'earlier lines' if last else 'lines'} left out …]"
    head = 0 if last else limit // 2
    return "\n".join([*lines[:head], gap, *lines[len(lines) - (limit - head) :]])


def fitted(text: str, limit: int, escape: Callable[[str], str] = str) -> str:
    """`escape(text)` in at most `limit` characters (of UTF-16, as services count); a cut says how much is missing.

    Both ends are kept. `escape` never makes a text shorter.
    """
    if len(text) <= limit:
        whole = escape(text)
        if size(whole) <= limit:
            return whole
    low, high, best = 0, limit, ""
    while low <= high:
        kept = (low + high) // 2
        head, tail = kept - kept // 2, kept // 2
        gap = f"\n[… {len(text) - kept} characters left out …]\n"
        candidate = escape(text[:head]) + gap + escape(text[len(text) - tail :] if tail else "")
        if size(candidate) <= limit:
            low, best = kept + 1, candidate
        else:
            high = kept - 1
    return best


def size(text: str) -> int:
    """Characters as JavaScript and .NET count them."""
    return len(text.encode("utf-16-le", "replace")) // 2
