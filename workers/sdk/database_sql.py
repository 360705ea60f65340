"""The little an agent has to know of SQL's text: where a statement begins, and where its bind parameters stand.

Nothing here decides what a statement does: the server does, and its answer says whether there are rows. The
text is read for two things only: to put bind parameters into the form the driver wants, without touching quoted text
and comments, and to refuse, in the read-only mode of servers whose transactions can be left from within, what is no
reading statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from easyalert.errors import InvalidParameter

PARAMETER: Final = "bindParams"
PARAMETERS_MAX: Final = 1_000

Style = Literal["dollar", "format", "colon"]
"""`$1` (PostgreSQL), `%s` with `%%` (PyMySQL, pymssql), `:1` (oracledb)."""

Bound = dict[str, Any] | list[Any]


@dataclass(frozen=True)
class Dialect:
    """What differs between the servers in reading the text."""

    style: Style
    quoted: str
    """Regular expression: quoted text and names, comments."""
    nested_comments: bool = False
    reused: bool = False
    """A parameter that is named twice is sent once."""


_LINE: Final = r"--[^\n]*"
_BLOCK: Final = r"/\*.*?(?:\*/|\Z)"
_TEXT: Final = r"'(?:[^']|'')*(?:'|\Z)"
_NAME: Final = r'"(?:[^"]|"")*(?:"|\Z)'

POSTGRESQL: Final = Dialect(
    style="dollar",
    quoted="|".join(
        (
            r"[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)",
            r"\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)",
            *(_LINE, _TEXT, _NAME),
        )
    ),
    nested_comments=True,
    reused=True,
)
_MYSQL_TAIL: Final = (
    r"--(?=\s|\Z)[^\n]*",
    r"#[^\n]*",
    r"/\*(?!M?!).*?(?:\*/|\Z)",  # with an exclamation mark it is no comment: the server runs it
    r"`(?:[^`]|``)*(?:`|\Z)",
)
MYSQL: Final = Dialect(
    style="format",
    quoted="|".join((r"'(?:[^'\\]|\\.|'')*(?:'|\Z)", r'"(?:[^"\\]|\\.|"")*(?:"|\Z)', *_MYSQL_TAIL)),
)
MYSQL_NO_BACKSLASH: Final = Dialect(style="format", quoted="|".join((_TEXT, _NAME, *_MYSQL_TAIL)))
"""For sessions with `NO_BACKSLASH_ESCAPES`: there, a backslash in quotes is a backslash."""
MSSQL: Final = Dialect(
    style="format",
    quoted=_LINE + "|" + _TEXT + "|" + _NAME + r"|\[(?:[^\]]|\]\])*(?:\]|\Z)",
    nested_comments=True,
)
ORACLE: Final = Dialect(
    style="colon",
    quoted="|".join(
        (
            r"[nN]?[qQ]'(?:\[.*?(?:\]'|\Z)|\{.*?(?:\}'|\Z)|\(.*?(?:\)'|\Z)|<.*?(?:>'|\Z)|(?P<q>.).*?(?:(?P=q)'|\Z))",
            *(_LINE, _BLOCK, _TEXT, _NAME),
        )
    ),
    reused=True,
)

_WORD: Final = r"[^\W\d][\w$]*|\d[\w.]*"
_PLACE: Final = r":(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
# a colon after a colon, a word or a bracket is a cast or a slice, `:=` an assignment
_COLONS: Final = r"::|:="

Kind = Literal["quoted", "word", "name", "mark", "end", "other"]


def pieces(query: str, dialect: Dialect) -> Iterator[tuple[Kind, str]]:
    """The text in pieces that together are the whole of it.

    `name`: `:name`; `mark`: `?`; `end`: a semicolon; `quoted`: quoted text, quoted names, comments.
    """
    scanner = re.compile(
        f"(?P<quoted>{dialect.quoted})|(?P<word>{_WORD})|(?P<colons>{_COLONS})|(?P<place>{_PLACE})|(?P<any>.)",
        re.DOTALL,
    )
    at, before = 0, ""
    while at < len(query):
        if dialect.nested_comments and query.startswith("/*", at):
            end = _comment_end(query, at)
            yield "quoted", query[at:end]
            at = end
            continue
        match = scanner.match(query, at)
        if match is None:  # never: the last choice takes what is left
            break
        text, at = match.group(), match.end()
        yield _kind(match, text, before), text
        before = text


def _kind(match: re.Match[str], text: str, before: str) -> Kind:
    if match.lastgroup == "quoted" or match["quoted"] is not None:
        return "quoted"
    if match["word"] is not None:
        return "word"
    if match["place"] is not None:
        return "other" if before[-1:].isalnum() or before[-1:] in {"_", "]", ")"} else "name"
    return {"?": "mark", ";": "end"}.get(text, "other")  # type: ignore[return-value]


def _comment_end(query: str, at: int) -> int:
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(query, at):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(query)


def first_word(query: str, dialect: Dialect) -> str:
    """In capitals, after comments and opening parentheses; empty when the statement begins with something else."""
    for kind, text in pieces(query, dialect):
        if kind == "word":
            return text.upper()
        if (kind == "quoted" and not text.startswith(("--", "/*", "#"))) or not (
            kind == "quoted" or text.isspace() or text == "("
        ):
            return ""
    return ""


def seems_several(query: str, dialect: Dialect) -> bool:
    """Something other than a comment follows a semicolon. A hint for people: bodies of procedures hold some too."""
    ended = False
    for kind, text in pieces(query, dialect):
        if kind == "end":
            ended = True
        elif ended and not text.isspace() and not (kind == "quoted" and text.startswith(("--", "/*", "#"))):
            return True
    return False


def bind(query: str, given: Bound | None, dialect: Dialect) -> tuple[str, list[Any] | None]:
    """The text with the driver's own marks, and the values in their order; the text as it is for None.

    Raises InvalidParameter (`bindParams`) for a place without value and a value without place.
    """
    if given is None:
        return query, None
    named = isinstance(given, dict)
    values: list[Any] = []
    places: dict[str, int] = {}
    made: list[str] = []
    used = 0
    for kind, text in pieces(query, dialect):
        if kind == ("name" if named else "mark"):
            key = text[1:] if named else str(used)
            used += 1
            if key not in places or not dialect.reused:
                values.append(_value(given, key))
                places[key] = len(values)
            made.append(_place(dialect.style, places[key]))
        else:
            made.append(text.replace("%", "%%") if dialect.style == "format" else text)
    unused = len(given) - len(places)
    if unused:
        left = next((name for name in given if name not in places), "") if named else str(len(places) + 1)
        raise InvalidParameter(PARAMETER, f"holds more than the query has places for: {_shown(left)}")
    return "".join(made), values


def _value(given: Bound, key: str) -> Any:
    if isinstance(given, dict):
        if key not in given:
            raise InvalidParameter(PARAMETER, f"has no value for :{key[:64]}")
        return given[key]
    if int(key) >= len(given):
        raise InvalidParameter(PARAMETER, f"has {len(given)} values, fewer than the query has places (?)")
    return given[int(key)]


def _shown(left: str) -> str:
    return f"number {left}" if left.isdecimal() else f"'{left[:64]}'"


def _place(style: Style, number: int) -> str:
    return {"dollar": f"${number}", "format": "%s", "colon": f":{number}"}[style]
