"""Finding base64 and hex that line breaks cut at any place: `env | base64`, a wrapped field of a YAML file, PEM.

A *joint* is a line break, as a byte or escaped as in JSON, between two characters of these alphabets. Data without its
joints is searched for the forms of `spellings.wrapped_spellings`. That costs little, because a form across a joint has
one of few combinations of characters around it; only where one stands, forms are compared.

Everything here depends on at most `reach` bytes, so a stream gives the same as its whole.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

LINE_MIN: Final = 16
"""No tool wraps narrower; a form whose lines inside are shorter is not looked for."""
_INDENT_MAX: Final = 8
_SEPARATOR_MAX: Final = 2 + _INDENT_MAX
_ALPHABET: Final = rb"[A-Za-z0-9+/_=-]"
_BREAK: Final = rb"(?:\r?\n[ \t]{0,8}|\\r\\n|\\n)"
_JOINT: Final = re.compile(rb"(?<=" + _ALPHABET + rb")" + _BREAK + rb"(?=" + _ALPHABET + rb")")
# What may become a joint when more comes.
_UNFINISHED: Final = re.compile(rb"(?<=" + _ALPHABET + rb")(?:\r?\n[ \t]{0,8}|\r|\\r\\n|\\r\\|\\r|\\n|\\)\Z")
_AROUND: Final = ((2, 2), (1, 3), (3, 1))
"""How many characters before and after a joint are looked at: the usual, behind a form's first, before its last."""
_STOP: Final = b"\0"


@dataclass(frozen=True)
class _Joined:
    """`data` without its joints. `cuts`: where they were, in it; `lost`: how many bytes were left out up to each."""

    text: bytes
    cuts: list[int]
    lost: list[int]

    def original(self, at: int, *, end: bool = False) -> int:
        """A place of `text` in the data: of the byte that stands there or, with `end`, behind the one before it."""
        index = bisect.bisect_left(self.cuts, at) if end else bisect.bisect_right(self.cuts, at)
        return at + (self.lost[index - 1] if index else 0)

    def lines_are_long(self, start: int, stop: int) -> bool:
        """Whether joints inside are as far apart as those of a wrapped text."""
        inside = self.cuts[bisect.bisect_right(self.cuts, start) : bisect.bisect_left(self.cuts, stop)]
        return all(later - earlier >= LINE_MIN for earlier, later in itertools.pairwise(inside))


class WrappedForms:
    """The forms, and where they stand across joints."""

    def __init__(self, forms: Iterable[bytes]) -> None:
        found = sorted(set(forms))
        self.none = not found
        self._forms = found
        self._text = _STOP + _STOP.join(found) + _STOP
        self._starts = [0]
        for form in found:
            self._starts.append(self._starts[-1] + len(form) + 1)
        self._keys = frozenset(_keys(found))
        self._heads = frozenset(form[:2] for form in found)
        longest = max(map(len, found), default=0)
        self.reach = longest + (2 + longest // LINE_MIN) * _SEPARATOR_MAX
        """No form with its joints is longer."""

    def matches(self, data: bytes, before: int) -> list[tuple[int, int]]:
        """Start and end, in `data`, of every form across a joint that starts before `before`, by start."""
        if self.none:
            return []
        joints = [match.span() for match in _JOINT.finditer(data)]
        keys = self._keys
        hits = [
            (index, key)
            for index, (start, stop) in enumerate(joints)
            for left, right in _AROUND
            if (key := data[max(0, start - left) : start] + _STOP + data[stop : stop + right]) in keys
        ]
        if not hits:
            return []
        joined = _joined(data, joints)
        found = set()
        for index, key in hits:
            for start, stop in self._at(joined, joined.cuts[index], key):
                first = joined.original(start)
                if first < before:
                    found.add((first, joined.original(stop, end=True)))
        return sorted(found)

    def first_unfinished(self, data: bytes) -> int:
        """Where the first form across a joint starts that `data` holds only the beginning of; else its length."""
        size = len(data)
        if self.none:
            return size
        base = max(0, size - self.reach)
        tail = data[base:]
        joints = [match.span() for match in _JOINT.finditer(tail)]
        open_end = _UNFINISHED.search(tail)
        if open_end:
            joints.append((open_end.start(), len(tail)))
        if not joints:
            return size
        joined = _joined(tail, joints)
        text, last = joined.text, joined.cuts[-1]
        for at in range(last):
            if text[at : at + 2] in self._heads or at == len(text) - 1:
                stop = len(text)
                if self._begins(text[at:]) and joined.lines_are_long(at, stop + 1):
                    return base + joined.original(at)
        return size

    def _begins(self, text: bytes) -> bool:
        """Whether some form begins with `text` and goes on."""
        index = bisect.bisect_right(self._forms, text)
        return index < len(self._forms) and self._forms[index].startswith(text)

    def _at(self, joined: _Joined, cut: int, key: bytes) -> Iterator[tuple[int, int]]:
        """Forms that lie across this cut, as places in the joined text."""
        left, _, right = key.partition(_STOP)
        wanted = left + right
        at = self._text.find(wanted)
        while at >= 0:
            index = bisect.bisect_right(self._starts, at) - 1
            form = self._forms[index]
            start = cut - (at + len(left) - self._starts[index] - 1)
            if start >= 0 and joined.text.startswith(form, start) and joined.lines_are_long(start, start + len(form)):
                yield start, start + len(form)
            at = self._text.find(wanted, at + 1)


def _keys(forms: Iterable[bytes]) -> Iterator[bytes]:
    for form in forms:
        size = len(form)
        for at in range(1, size):
            left, right = (1, 3) if at == 1 else (3, 1) if at == size - 1 else (2, 2)
            yield form[max(0, at - left) : at] + _STOP + form[at : at + right]


def _joined(data: bytes, joints: list[tuple[int, int]]) -> _Joined:
    pieces, cuts, lost = [], [], []
    at = length = gone = 0
    for start, stop in joints:
        pieces.append(data[at:start])
        length += start - at
        gone += stop - start
        cuts.append(length)
        lost.append(gone)
        at = stop
    pieces.append(data[at:])
    return _Joined(b"".join(pieces), cuts, lost)
