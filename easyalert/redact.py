"""Redaction: secrets are taken out of everything that leaves a worker or reaches a log.

A `Redactor` is built from the secrets of one job (every string leaf of its credentials, the API key, the admin token)
and knows them in all forms of `easyalert.spellings`. It is applied before anything is truncated: a cut secret cannot be
found any more. Matches that overlap or touch become one replacement; where one form is the beginning of another, the
longer one counts.
"""

from __future__ import annotations

import functools
import heapq
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from easyalert.spellings import MIN_SECRET_CHARS, spellings, wrapped_spellings
from easyalert.wrapping import WrappedForms

REPLACEMENT: Final = "[REDACTED]"

_REPLACEMENT_BYTES: Final = REPLACEMENT.encode()
_CACHED_SECRET_CHARS: Final = 16_384
_PIECE_SIZE: Final = 65_536
"""What is looked through at once: of a whole megabyte, what is noted about each of its lines takes eight."""
_NUMBER: Final = re.compile(r"[0-9.eE+-]+")
_SECRET_NAME: Final = re.compile(r"(?i)pass|secret|token|key|pin|code|credential")
# Configuration and words of protocols, which merged vault entries hold beside the secrets (contract 3.0). The control
# plane knows them, and outputs name them on purpose (contract 3.1: `host`, `username`).
_NOT_SECRET_KEYS: Final = frozenset(
    {
        "authMethod",
        "authType",
        "baseUrl",
        "databaseType",
        "dbname",
        "email",
        "fromAddress",
        "fromName",
        "headerName",
        "host",
        "knownHostsPath",
        "kubeconfigPath",
        "security",
        "smtpHost",
        "sslMode",
        "transport",
        "username",
    }
)


class Redactor:
    """Replaces the given secrets, in every form, by `REPLACEMENT`. Secrets under six characters are ignored.

    `count` is the number of replacements made so far, streams included. Without secrets every method returns what it
    was given. Forms are worked out on first use.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = frozenset(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS)
        self._has_numbers = any(map(_NUMBER.fullmatch, self._secrets))
        self._forms: _Forms | None = None
        self.count = 0

    @classmethod
    def of(cls, *values: Any) -> Redactor:
        """A redactor for every string leaf of `values` (objects, lists, strings) that is a secret.

        Keys are none, nor are values whose key says that they are configuration (`host`, `username`, …); numbers are
        when their key says so.
        """
        return cls(texts_of(values))

    def text(self, value: str) -> str:
        """`value` without the secrets; lone surrogates are kept."""
        if not self._secrets:
            return value
        found = self.count
        pieces = list(
            self._cleaned(
                value[at : at + _PIECE_SIZE].encode("utf-8", "surrogatepass")
                for at in range(0, len(value), _PIECE_SIZE)
            )
        )
        if self.count == found:
            return value
        clean = b"".join(pieces)
        try:
            return clean.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # a secret in another character set was cut out of the middle of a character
            return clean.decode("utf-8", "replace")

    def data(self, value: bytes) -> bytes:
        """`value` without the secrets, looked for as UTF-8, UTF-16 and Latin-1."""
        if not self._secrets:
            return value
        return b"".join(self._cleaned(value[at : at + _PIECE_SIZE] for at in range(0, len(value), _PIECE_SIZE)))

    def tree(self, value: Any) -> Any:
        """A copy of a JSON tree, however deep, with every string, number and key cleaned; two keys never become one."""
        if not self._secrets:
            return value
        root: list[Any] = [None]
        todo: list[tuple[Any, Any, Any]] = [(value, root, 0)]
        while todo:
            item, parent, slot = todo.pop()
            if isinstance(item, str):
                parent[slot] = self.text(item)
            elif isinstance(item, dict):
                parent[slot] = copy = dict.fromkeys(self._keys(item))
                todo.extend((member, copy, key) for key, member in zip(copy, item.values(), strict=True))
            elif isinstance(item, list | tuple):
                parent[slot] = members = [None] * len(item)
                todo.extend((member, members, index) for index, member in enumerate(item))
            else:
                parent[slot] = self._number(item)
        return root[0]

    def stream(self) -> StreamRedactor:
        """A redactor for one stream of bytes that comes in pieces; its replacements count here."""
        if self._forms is None:
            small = sum(map(len, self._secrets)) <= _CACHED_SECRET_CHARS
            self._forms = _cached_forms(self._secrets) if small else _forms(self._secrets)
        return StreamRedactor(self, self._forms)

    def _cleaned(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        stream = self.stream()
        for piece in pieces:
            yield stream.feed(piece)
        yield stream.finish()

    def _number(self, item: Any) -> Any:
        """What is no text, as it is; a number that is a secret in digits, or holds one, as text without it."""
        if not self._has_numbers or isinstance(item, bool) or not isinstance(item, int | float):
            return item
        text = json.dumps(item)
        clean = self.text(text)
        return item if clean is text else clean

    def _keys(self, item: dict[Any, Any]) -> list[Any]:
        keys: dict[Any, None] = {}
        for key in item:
            clean = unique = self.text(key) if isinstance(key, str) else key
            number = 1
            while unique in keys:
                number += 1
                unique = f"{clean} {number}"
            keys[unique] = None
        return list(keys)


class StreamRedactor:
    """Redacts a stream: everything but what may be the beginning of a secret is given out at once.

    It never holds more than the longest form with the line breaks in it (about 900 bytes). All pieces given out,
    joined, are what `Redactor.data` makes of the joined input, wherever the input was cut.
    """

    def __init__(self, redactor: Redactor, forms: _Forms) -> None:
        self._redactor = redactor
        self._forms = forms
        self._held = b""
        # How far the last replacement reaches into what is held; -1: what was given out last is no replacement.
        self._covered = -1

    def feed(self, chunk: bytes) -> bytes:
        """What can be given out now that `chunk` has come."""
        if self._forms.none:
            return chunk
        held = self._held + chunk
        return self._advance(held, self._forms.first_unfinished(held))

    def finish(self) -> bytes:
        """The rest, at the end of the stream."""
        return self._advance(self._held, len(self._held))

    def _advance(self, held: bytes, decided: int) -> bytes:
        """Give out `held` up to `decided`: no form that starts before it can be unfinished."""
        given: list[bytes] = []
        end = self._covered
        for start, stop in self._forms.matches(held, decided):
            if start > end:
                given += (held[max(end, 0) : start], _REPLACEMENT_BYTES)
                self._redactor.count += 1
            end = max(end, stop)
        given.append(held[max(end, 0) : decided])
        self._covered = end - decided if end >= decided else -1
        self._held = held[decided:]
        return b"".join(given)


class _Forms:
    """The forms to look for. One regular expression finds their first six bytes; the few candidates are compared."""

    def __init__(self, forms: Iterable[bytes], wrapped: Iterable[bytes] = ()) -> None:
        self._wrapped = WrappedForms(wrapped)
        by_head: dict[bytes, list[bytes]] = {}
        for form in sorted(set(forms), key=len, reverse=True):
            by_head.setdefault(form[:MIN_SECRET_CHARS], []).append(form)
        # tuples: `startswith` compares all forms of a head in one call, and text full of heads is the worst case
        self._by_head = {head: tuple(found) for head, found in by_head.items()}
        self.none = not self._by_head
        self._beginnings = {head[:length] for head in self._by_head for length in range(1, MIN_SECRET_CHARS)}
        self._longest = max((len(forms[0]) for forms in self._by_head.values()), default=0)
        self._heads = re.compile(_trie_pattern(sorted(self._by_head)), re.DOTALL)
        self._units = {
            form: (step, re.compile(b"(?:" + re.escape(form[:step]) + b")+", re.DOTALL))
            for forms in self._by_head.values()
            for form in forms
            if (step := _period(form)) <= len(form) // 2
        }

    def matches(self, data: bytes, before: int) -> Iterator[tuple[int, int]]:
        """Start and end of every longest form that starts before `before`, by start; overlapping ones too.

        Those that add nothing to an earlier one may be left out.
        """
        return heapq.merge(self._straight(data, before), self._wrapped.matches(data, before))

    def _straight(self, data: bytes, before: int) -> Iterator[tuple[int, int]]:
        search, by_head = self._heads.search, self._by_head
        at = 0
        while (hit := search(data, at)) and (start := hit.start()) < before:
            forms = by_head[hit[0]]
            at = start + 1
            if data.startswith(forms, start):
                form = next(form for form in forms if data.startswith(form, start))
                stop = self._end_of_run(form, data, start)
                yield start, stop
                # whatever starts earlier than this ends inside
                at = max(at, stop - self._longest + 1)

    def _end_of_run(self, form: bytes, data: bytes, start: int) -> int:
        """Where the form ends or, if it repeats itself, the last of those that start in step with it.

        Else a secret of one character, in a run of it, would be a match at every byte.
        """
        unit = self._units.get(form)
        if unit is None:
            return start + len(form)
        step, run = unit
        repeated = run.match(data, start)
        length = repeated.end() - start if repeated else 0
        return start + len(form) + max(0, length - len(form)) // step * step

    def first_unfinished(self, data: bytes) -> int:
        """Where the first form starts that `data` holds only the beginning of; its length when there is none."""
        return min(self._straight_unfinished(data), self._wrapped.first_unfinished(data))

    def _straight_unfinished(self, data: bytes) -> int:
        size = len(data)
        at = max(0, size - self._longest + 1)
        while hit := self._heads.search(data, at):
            start = hit.start()
            rest = data[start:]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self._by_head[hit[0]]):
                return start
            at = start + 1
        for length in range(min(MIN_SECRET_CHARS - 1, size), 0, -1):
            if data[size - length :] in self._beginnings:
                return size - length
        return size


def _forms(secrets: frozenset[str]) -> _Forms:
    return _Forms(
        (form for secret in secrets for form in spellings(secret)),
        (form for secret in secrets for form in wrapped_spellings(secret)),
    )


# A worker runs many jobs with few credentials; it can read the whole vault anyway.
_cached_forms = functools.lru_cache(maxsize=32)(_forms)


def _period(form: bytes) -> int:
    """After how many bytes the form repeats itself; its length when it does not."""
    return (form + form).find(form, 1)


def _trie_pattern(words: list[bytes]) -> bytes:
    """A pattern for exactly these sorted words of one length, that tries each common beginning once."""
    if not words or not words[0]:
        return b""
    branches = [
        re.escape(first) + _trie_pattern([word[1:] for word in words if word[:1] == first])
        for first in sorted({word[:1] for word in words})
    ]
    return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"


def texts_of(value: Any) -> Iterator[str]:
    """Every string leaf of `value` but those whose key says that they are configuration.

    Numbers, as JSON writes them, when a key above says that they are secret (`"password": 31415926`).
    """
    todo = [(value, False)]
    while todo:
        item, secret = todo.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            members = ((key, member) for key, member in item.items() if key not in _NOT_SECRET_KEYS)
            todo.extend((member, secret or bool(_SECRET_NAME.search(str(key)))) for key, member in members)
        elif isinstance(item, list | tuple | set | frozenset):
            todo.extend((member, secret) for member in item)
        elif secret and isinstance(item, int | float) and not isinstance(item, bool):
            yield json.dumps(item)
