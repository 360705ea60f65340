"""Is the record what was written? Names the first line that is not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from easyalert.audit.log import segments
from easyalert.audit.record import NO_HASH, Head, head_of, parse_line
from easyalert.errors import AuditError


@dataclass(frozen=True)
class Verdict:
    """`broken` is a sentence about the first line that is wrong, None: the chain is whole."""

    entries: int
    first: int | None
    last: Head | None
    torn_bytes: int
    """A last line that is not whole: a kill or a power cut, mended by the next write; no tampering."""
    broken: str | None


@dataclass(frozen=True)
class Line:
    """A line and where it stands. `document` is None when it is not sound."""

    path: Path
    number: int
    document: dict[str, Any] | None


def verify(folder: Path, anchors: Sequence[Head] = ()) -> Verdict:
    """Check every line, the chain, and that each of `anchors` (what was witnessed elsewhere) is in it.

    Raises AuditError when the files cannot be read.
    """
    checking = _Checking(anchors)
    torn = 0
    broken: str | None = None
    for line in lines(folder):
        if isinstance(line, int):
            torn = line
            continue
        broken = checking.step(line)
        if broken is not None:
            break
    return Verdict(checking.count, checking.first, checking.last, torn, broken or checking.end())


def lines(folder: Path) -> Iterator[Line | int]:
    """Every whole line, oldest first; at the end the number of bytes of one that is not, if any. Raises AuditError."""
    try:
        there = segments(folder)
        for path in there:
            *whole, rest = path.read_bytes().split(b"\n")
            for number, line in enumerate(whole, 1):
                yield Line(path, number, parse_line(line))
            if rest and path == there[-1]:
                yield len(rest)
            elif rest:
                yield Line(path, len(whole) + 1, None)
    except OSError as error:
        raise AuditError(f"the audit record {folder} cannot be read: {error.strerror}") from None


def entries(folder: Path) -> Iterable[dict[str, Any]]:
    """What the sound lines say, oldest first. Raises AuditError."""
    for line in lines(folder):
        if isinstance(line, Line) and line.document is not None:
            yield line.document


class _Checking:
    def __init__(self, anchors: Sequence[Head]) -> None:
        self._anchors: dict[int, set[str]] = {}
        for anchor in anchors:
            self._anchors.setdefault(anchor.seq, set()).add(anchor.hash)
        self.count = 0
        self.first: int | None = None
        self._first_prev = NO_HASH
        self._pruned: tuple[object, object] | None = None
        self.last: Head | None = None

    def step(self, line: Line) -> str | None:
        """What is wrong with the line, if anything."""
        where = f"{line.path.name}, line {line.number}"
        document = line.document
        if document is None:
            return f"{where}: its content is not what its hash says; it was changed, or is damaged"
        if (wrong := self._follows(document)) is not None:
            return f"{where} (entry {document['seq']}): {wrong}"
        if not self._witnessed(document["seq"], document["hash"]):
            return f"{where} (entry {document['seq']}): it is not the entry that was witnessed; it was written anew"
        if self.first is None:
            self.first, self._first_prev = document["seq"], document["prev"]
        if document["kind"] == "audit.pruned":
            self._pruned = (document.get("through"), document.get("throughHash"))
        self.count += 1
        self.last = head_of(document)
        return None

    def _witnessed(self, seq: int, digest: str) -> bool:
        """Nobody has seen another entry of that number."""
        return self._anchors.get(seq, {digest}) <= {digest}

    def _follows(self, document: dict[str, Any]) -> str | None:
        if self.last is None:
            return None
        seq, expected = document["seq"], self.last.seq + 1
        if seq > expected:
            return f"entries {expected} to {seq - 1} are missing before it"
        if seq < expected:
            return f"it is out of order, or stands there twice (entry {expected} was expected)"
        if document["prev"] != self.last.hash:
            return "it follows another entry than the one before it; that one was changed"
        return None

    def end(self) -> str | None:
        """What is wrong with the whole: its beginning or its end is missing."""
        if self.first is not None and self.first > 1 and self._pruned != (self.first - 1, self._first_prev):
            return f"entries 1 to {self.first - 1} are missing, and no entry says that they were removed for their age"
        if self.first is not None and not self._witnessed(self.first - 1, self._first_prev):
            return (
                f"entry {self.first} does not follow the entry {self.first - 1} that was witnessed; it was written anew"
            )
        if self.first == 1 and self._first_prev != NO_HASH:
            return "entry 1 says that another one was before it"
        last = 0 if self.last is None else self.last.seq
        missing = [seq for seq in self._anchors if seq > last]
        if missing:
            return f"the end is missing: entry {max(missing)} was witnessed, the record ends with entry {last}"
        return None
