"""Reading `policy.toml` strictly: whatever is not understood refuses the file, with the line and what to write."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar
from zoneinfo import ZoneInfo

from easyalert.errors import PolicyUnusable
from easyalert.policy.hours import Hours, parse_days, parse_span
from easyalert.policy.places import parse_pattern
from easyalert.policy.rules import Effect, Policy, Rule

T = TypeVar("T")

TOP_KEYS: Final = ("dry_run", "timezone", "deny", "allow")
RULE_KEYS: Final[Mapping[Effect, tuple[str, ...]]] = {
    "deny": ("name", "reason", "actions", "connections", "days", "hours", "timezone"),
    "allow": (
        *("name", "actions", "connections", "targets", "interpreters", "sha256"),
        *("days", "hours", "timezone"),
    ),
}
_ALLOW_ONLY: Final = {
    "targets": "one machine has many names; list the targets that are wanted under [[allow]]",
    "interpreters": "a script can start any other interpreter; list the wanted ones under [[allow]]",
    "sha256": "one space makes another script of it; list the wanted scripts under [[allow]]",
}
_ACTION: Final = re.compile(r"\*|[A-Za-z0-9_-]+\.(?:\*|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)", re.ASCII)
_CONNECTION: Final = re.compile(r"[A-Za-z0-9_*-]{1,256}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NAME_MAX: Final = 80


def read_policy(content: bytes, path: Path) -> Policy:
    """The file's content as a policy. Raises PolicyUnusable; `path` is for its sentence."""
    try:
        text = content.decode()
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyUnusable(f"{path}, line {line}: not text in UTF-8; save the file in that encoding") from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyUnusable(f"{path}: no TOML: {error}") from None
    except RecursionError:
        raise PolicyUnusable(f"{path}: no policy: it is nested too deeply") from None
    return _Reader(text, path).policy(document)


class _Reader:
    """One file. Keeps where it is, for its sentences."""

    def __init__(self, text: str, path: Path) -> None:
        self._lines = text.splitlines()
        self._path = path
        self._table = ""
        self._number = 0

    def policy(self, document: Mapping[str, Any]) -> Policy:
        self._known(document, TOP_KEYS)
        dry_run = document.get("dry_run", False)
        if not isinstance(dry_run, bool):
            self._fail("dry_run", "must be true or false")
        zone = self._zone(document, None)
        rules: dict[Effect, tuple[Rule, ...]] = {"deny": self._rules(document, "deny", zone)}
        rules["allow"] = self._rules(document, "allow", zone)
        names = Counter(rule.name for rule in (*rules["deny"], *rules["allow"]))
        if repeated := next((name for name, count in names.items() if count > 1), None):
            self._table = ""
            self._fail("name", f"'{repeated}' is the name of two rules: give each its own", quoted=False)
        return Policy(allow=rules["allow"], deny=rules["deny"], dry_run=dry_run)

    def _rules(self, document: Mapping[str, Any], effect: Effect, zone: ZoneInfo | None) -> tuple[Rule, ...]:
        tables = document.get(effect, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._fail(effect, f"must be rules: begin each one with a line [[{effect}]]")
        found = []
        for number, table in enumerate(tables):
            self._table, self._number = effect, number
            found.append(self._rule(table, effect, zone))
        self._table = ""
        return tuple(found)

    def _rule(self, table: Mapping[str, Any], effect: Effect, zone: ZoneInfo | None) -> Rule:
        for key, why in _ALLOW_ONLY.items():
            if effect == "deny" and key in table:
                self._fail(key, f"cannot be denied: {why}")
        self._known(table, RULE_KEYS[effect])
        interpreters, digests = self._texts(table, "interpreters"), self._texts(table, "sha256")
        for digest in digests or ():
            if not _DIGEST.fullmatch(digest):
                self._fail("sha256", "must be 64 hexadecimal digits in lower case: sha256sum SCRIPT prints them")
        targets = self._texts(table, "targets")
        return Rule(
            effect=effect,
            name=self._line_of_text(table, "name"),
            reason=self._line_of_text(table, "reason") if "reason" in table else None,
            actions=self._actions(table),
            connections=self._connections(table),
            targets=None if targets is None else tuple(self._each("targets", targets, parse_pattern)),
            interpreters=None if interpreters is None else tuple(interpreters),
            sha256=None if digests is None else frozenset(digests),
            hours=self._hours(table, zone),
        )

    def _actions(self, table: Mapping[str, Any]) -> tuple[str, ...]:
        actions = self._texts(table, "actions")
        if actions is None:
            self._fail("actions", 'is missing: write for example actions = ["script.bash"], or ["*"] for all')
        for action in actions:
            if not _ACTION.fullmatch(action):
                self._fail("actions", f"'{action}' is no action: write script.bash, script.* or *", quoted=False)
        return tuple(actions)

    def _connections(self, table: Mapping[str, Any]) -> tuple[str, ...] | None:
        connections = self._texts(table, "connections")
        for connection in connections or ():
            if not _CONNECTION.fullmatch(connection):
                sentence = f"'{connection}' is no connection id: letters, digits, _ and -, and * for any of them"
                self._fail("connections", sentence, quoted=False)
        return None if connections is None else tuple(connections)

    def _hours(self, table: Mapping[str, Any], zone: ZoneInfo | None) -> Hours | None:
        days, spans = self._texts(table, "days"), self._texts(table, "hours")
        zone = self._zone(table, zone)
        if days is None and spans is None:
            if "timezone" in table:
                self._fail("timezone", "is useless in a rule without days and hours: add them, or leave it out")
            return None
        if zone is None:
            key = "hours" if days is None else "days"
            self._fail(key, 'need a time zone: write timezone = "Europe/Vienna" (or "UTC") at the top of the file')
        try:
            on = parse_days(days) if days is not None else frozenset(range(7))
        except ValueError as error:
            self._fail("days", str(error), quoted=False)
        return Hours(on, tuple(self._each("hours", spans or ["00:00-24:00"], parse_span)), zone)

    def _zone(self, table: Mapping[str, Any], inherited: ZoneInfo | None) -> ZoneInfo | None:
        if "timezone" not in table:
            return inherited
        name = table["timezone"]
        try:
            return ZoneInfo(name) if isinstance(name, str) else self._fail("timezone", "must be a name in quotes")
        except (LookupError, ValueError, OSError):  # no such zone, or the name of no file
            self._fail("timezone", f"'{name}' is no time zone here: write one like Europe/Vienna or UTC", quoted=False)

    # ---- values -----------------------------------------------------------------------------------------------------

    def _texts(self, table: Mapping[str, Any], key: str) -> list[str] | None:
        if key not in table:
            return None
        value = table[key]
        if isinstance(value, str):
            self._fail(key, f'must be a list: write {key} = ["{value[:40]}"]')
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            self._fail(key, "must be a list of texts in quotes")
        if not value:
            self._fail(key, "is an empty list, which nothing fits: leave it out, or list something")
        return value

    def _line_of_text(self, table: Mapping[str, Any], key: str) -> str:
        value = table.get(key)
        if value is None:
            self._fail(key, f'is missing: write {key} = "…", so that messages can say which rule it was')
        if not isinstance(value, str) or not value.strip() or len(value) > _NAME_MAX or not value.isprintable():
            self._fail(key, f"must be one line of text, at most {_NAME_MAX} characters")
        return str(value)

    def _each(self, key: str, texts: Sequence[str], read: Callable[[str], T]) -> list[T]:
        try:
            return [read(text) for text in texts]
        except ValueError as error:
            self._fail(key, str(error), quoted=False)

    # ---- sentences --------------------------------------------------------------------------------------------------

    def _known(self, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                did = f"write {near[0]}" if near else f"known are {', '.join(known)}"
                self._fail(key, f"is no key of {f'[[{self._table}]]' if self._table else 'this file'}: {did}")

    def _fail(self, key: str, problem: str, *, quoted: bool = True) -> NoReturn:
        line = self._line(key)
        rule = f"rule {self._number + 1} of [[{self._table}]]" if self._table else ""
        place = ", ".join(part for part in (str(self._path), f"line {line}" if line else "", rule) if part)
        raise PolicyUnusable(f"{place}: {f'{key!r} ' if quoted else f'{key}: '}{problem}")

    def _line(self, key: str) -> int | None:
        """Where the key stands, else where its table begins: found in the text, for the parser does not tell."""
        header = re.compile(r"""\s*\[\[?\s*["']?([^\]"']*?)["']?\s*\]""")
        wanted = re.compile(rf"""\s*(?:\[+\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
        table, number, begins = "", -1, None
        for place, line in enumerate(self._lines, 1):
            if match := header.match(line):
                number = number + 1 if match[1] == self._table else number
                table = match[1]
                if table == self._table and number == self._number:
                    begins = place
            inside = not self._table or (table == self._table and number == self._number)
            if inside and wanted.match(line) and (self._table or not table or match):
                return place
        return begins
