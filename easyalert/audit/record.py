"""One entry of the audit record, as a value and as a line."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

NO_HASH: Final = "0" * 64
"""What the very first entry follows."""
LINE_MAX_BYTES: Final = 16_384
"""No line is longer: so the last one is found without reading a file."""
_TEXT_MAX_CHARS: Final = 300
_TEXT_MIN_CHARS: Final = 40
"""Of every text in a line that would be too long otherwise."""


@dataclass(frozen=True)
class Mark:
    """A place in a journal's list of entries. Another journal, made anew, counts from 1 again."""

    journal: str
    number: int

    @classmethod
    def read(cls, text: object) -> Mark | None:
        """From its text form; None for anything else."""
        journal, _, number = text.rpartition(":") if isinstance(text, str) else ("", "", "")
        return cls(journal, int(number)) if journal and number.isdecimal() else None

    def __str__(self) -> str:
        return f"{self.journal}:{self.number}"


@dataclass(frozen=True)
class Entry:
    """Something to be recorded. `fields` are JSON values: ids, names, codes; never a parameter or a secret."""

    at: float
    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    mark: Mark | None = None


@dataclass(frozen=True)
class Head:
    """The last line of the chain."""

    seq: int
    hash: str
    mark: Mark | None = None

    @classmethod
    def read(cls, text: str) -> Head | None:
        """From `SEQ:HASH`; None for anything else."""
        number, _, digest = text.strip().partition(":")
        sound = number.isdecimal() and len(digest) == len(NO_HASH) and set(digest) <= set("0123456789abcdef")
        return cls(int(number), digest) if sound else None


def line_of(entry: Entry, before: Head | None) -> tuple[bytes, Head]:
    """The entry as the next line after `before`, with its newline, and the new head."""
    line, head = _line_of(entry, before, _TEXT_MAX_CHARS)
    # a character outside ASCII takes up to twelve bytes, and there may be many fields
    return (line, head) if len(line) <= LINE_MAX_BYTES else _line_of(entry, before, _TEXT_MIN_CHARS)


def _line_of(entry: Entry, before: Head | None, text_max: int) -> tuple[bytes, Head]:
    mark = entry.mark or (before.mark if before else None)
    document = {
        **{name: _short(value, text_max) for name, value in entry.fields.items()},
        "seq": before.seq + 1 if before else 1,
        "at": moment(entry.at),
        "kind": entry.kind,
        "mark": None if mark is None else str(mark),
        "prev": before.hash if before else NO_HASH,
    }
    document["hash"] = hash_of(document)
    head = Head(int(document["seq"]), str(document["hash"]), mark)
    return _json(document) + b"\n", head


def parse_line(line: bytes) -> dict[str, Any] | None:
    """A line that is whole and says what its hash says; None for any other."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or type(document.get("seq")) is not int or document["seq"] < 1:
        return None
    texts = all(isinstance(document.get(name), str) for name in ("at", "kind", "prev", "hash"))
    # the exact bytes, too: a second spelling of the same object is an edit
    return document if texts and document["hash"] == hash_of(document) and _json(document) == line else None


def head_of(document: Mapping[str, Any]) -> Head:
    """The head after this (parsed) line."""
    return Head(document["seq"], document["hash"], Mark.read(document.get("mark")))


def hash_of(document: Mapping[str, Any]) -> str:
    """The hash of a line, from its other fields."""
    return hashlib.sha256(_json({name: value for name, value in document.items() if name != "hash"})).hexdigest()


def moment(at: float) -> str:
    """RFC 3339 in UTC, with milliseconds."""
    whole = int(at // 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((at - whole) * 1000):03}Z"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def _short(value: Any, most: int) -> Any:
    # ids and names come from outside: none of them may make a line too long
    if isinstance(value, str):
        return value[:most]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = json.dumps(value)
    return value if len(text) <= most else text[:most]
