"""How secrets come in at the command line: standard input, a file, or a prompt that shows nothing. Never an argument.

Arguments stand in process lists and in the shell's history; what is typed at a prompt stands nowhere.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from cli.terminal import plain
from easyalert.errors import ConfigurationError

SECRET_MAX_BYTES: Final = 1_048_576
"""As the admin API: no credential is larger."""


def read_file(path: Path, limit: int = SECRET_MAX_BYTES) -> bytes:
    """A file as a whole. Raises ConfigurationError when it cannot be read or is larger than `limit` bytes."""
    try:
        with path.open("rb") as file:
            return _limited(file.read(limit + 1), limit, str(path))
    except OSError as error:
        raise ConfigurationError(f"{plain(path)} cannot be read: {error.strerror}") from None


def read_line(path: Path, *, as_typed: bool = False) -> str:
    """The first line of a file, which holds one secret; blanks around it are none of it, unless it is `as_typed`.

    Raises ConfigurationError.
    """
    try:
        text = read_file(path, 65_536).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{plain(path)} is not text in UTF-8") from None
    line = text.partition("\n")[0].removesuffix("\r")
    if not line.strip():
        raise ConfigurationError(f"the first line of {plain(path)} is empty")
    return line if as_typed else line.strip()


def ask(prompt: str, *, otherwise: str, again: str | None = None) -> str:
    """A secret typed without echo; with `again` twice. `otherwise`: what to do where there is no terminal.

    Raises ConfigurationError without a terminal, for an empty answer, or when the two differ.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(f"there is no terminal to ask at; {otherwise}")
    try:
        answer = getpass.getpass(prompt)
        if again is not None and answer and getpass.getpass(again) != answer:
            raise ConfigurationError("the two differ; nothing was changed")
    except EOFError:
        answer = ""
    if not answer.strip():
        raise ConfigurationError("nothing was entered; nothing was changed")
    return answer


def credentials_from(path: Path | None) -> dict[str, Any]:
    """A JSON object from a file or standard input; at a terminal, asked for field by field.

    Raises ConfigurationError; what was read is never quoted.
    """
    if path is None and sys.stdin.isatty():
        return _asked()
    if path is None:
        raw = _limited(sys.stdin.buffer.read(SECRET_MAX_BYTES + 1), SECRET_MAX_BYTES, "standard input")
    else:
        raw = read_file(path)
    try:
        document = json.loads(raw, object_pairs_hook=_unique)
    except ConfigurationError:
        raise
    except (ValueError, RecursionError):
        # the decoder's text quotes what it read
        raise ConfigurationError(
            'that is not JSON; expected is one object, as {"username": "…", "password": "…"}'
        ) from None
    if not isinstance(document, dict) or not document:
        raise ConfigurationError('expected is one JSON object that is not empty, as {"username": "…", "password": "…"}')
    return document


def _asked() -> dict[str, Any]:
    print("A field's name, then its value, which is not shown; an empty name ends. Values are stored as text.")
    found: dict[str, Any] = {}
    try:
        while name := input("field: ").strip():
            found[name] = getpass.getpass(f"value of {plain(name)}: ")
    except EOFError:
        raise ConfigurationError("the input ended before an empty field name; nothing was stored") from None
    if not found:
        raise ConfigurationError("no field was entered; nothing was stored")
    return found


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigurationError("one name stands twice in that JSON; nothing was stored")
        found[name] = value
    return found


def _limited(raw: bytes, limit: int, where: str) -> bytes:
    if len(raw) > limit:
        raise ConfigurationError(f"{plain(where)} holds more than {limit} bytes; nothing was stored")
    return raw
