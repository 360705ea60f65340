"""The policy as values: rules, and what each of their conditions says about a job.

A rule fits a job when all its conditions do. What an `[[allow]]` rule asks for has to be known and covered; a
`[[deny]]` rule has only conditions that nobody can get around by spelling the same thing otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from easyalert.policy.asked import Asked
from easyalert.policy.hours import Hours
from easyalert.policy.places import Pattern

Effect = Literal["allow", "deny"]

OK: Final = "ok"
REFUSES: Final = "broken: every job is refused"
DRY_RUN: Final = "dry run: nothing is run"
"""How a policy stands, in words for the heartbeat and for people."""


@dataclass(frozen=True)
class Finding:
    """What one condition of a rule says about a job."""

    condition: str
    """The key in the file: `actions`, `targets`, …"""
    fits: bool
    why: str


@dataclass(frozen=True)
class Rule:
    """One `[[allow]]` or `[[deny]]`. None: the rule does not ask."""

    effect: Effect
    name: str
    actions: tuple[str, ...]
    connections: tuple[str, ...] | None = None
    targets: tuple[Pattern, ...] | None = None
    interpreters: tuple[str, ...] | None = None
    sha256: frozenset[str] | None = None
    hours: Hours | None = None
    reason: str | None = None
    """What is said to whoever sent a denied job."""

    @property
    def title(self) -> str:
        """How messages call it."""
        return f"[[{self.effect}]] '{self.name}'"

    def findings(self, asked: Asked, at: datetime) -> Iterator[Finding]:
        """Every condition of the rule, in the order of the documentation."""
        yield _actions(self.actions, asked)
        if self.connections is not None:
            yield _connections(self.connections, asked)
        if self.targets is not None:
            yield _targets(self.targets, asked)
        if self.interpreters is not None:
            yield _one_of("interpreters", self.interpreters, asked.interpreter, "the job runs no known interpreter")
        if self.sha256 is not None:
            yield _one_of("sha256", self.sha256, asked.sha256, "the job has no script whose text could be compared")
        if self.hours is not None:
            holds = self.hours.holds(at)
            yield Finding(
                "hours", holds, f"it is {self.hours.local(at)}, {'within' if holds else 'outside'} {self.hours.text()}"
            )


@dataclass(frozen=True)
class Policy:
    """A policy file, read."""

    allow: tuple[Rule, ...]
    deny: tuple[Rule, ...]
    dry_run: bool = False

    @property
    def looks_at_targets(self) -> bool:
        """Whether the connection's vault entry has to be known for a decision."""
        return any(rule.targets is not None for rule in self.allow)


def action_covers(pattern: str, action: str) -> bool:
    """`*`, `script.*` or one action's name; the kind is what stands before the first dot.

    An action without a dot is both kind and name (contract 2.1): `odd` runs as `odd.odd`, and is judged as that.
    """
    if pattern == "*":
        return True
    kind, dot, _ = action.partition(".")
    if pattern.endswith(".*"):
        return kind == pattern.removesuffix(".*")
    return (action if dot else f"{kind}.{kind}") == pattern


def wildcard_covers(pattern: str, text: str) -> bool:
    """`*` stands for any characters, also none; everything else for itself.

    Piece by piece, each at its first place: the text is the sender's, and a regular expression with several `.*` takes
    time without end on some.
    """
    first, *pieces = pattern.split("*")
    if not pieces:
        return text == pattern
    last, at = pieces.pop(), len(first)
    if not text.startswith(first):
        return False
    for piece in pieces:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - at >= len(last) and text.endswith(last)


def _actions(patterns: tuple[str, ...], asked: Asked) -> Finding:
    return _listed("actions", patterns, asked.action, action_covers)


def _connections(patterns: tuple[str, ...], asked: Asked) -> Finding:
    if asked.connection is None:
        return Finding("connections", fits=False, why="the job names no connection")
    return _listed("connections", patterns, asked.connection, wildcard_covers)


def _listed(condition: str, patterns: tuple[str, ...], text: str, covers: Callable[[str, str], bool]) -> Finding:
    by = next((pattern for pattern in patterns if covers(pattern, text)), None)
    if by is None:
        return Finding(condition, fits=False, why=f"'{text}' is not among {_some(patterns)}")
    return Finding(condition, fits=True, why=f"'{text}' is covered by '{by}'")


def _targets(patterns: tuple[Pattern, ...], asked: Asked) -> Finding:
    if asked.places_unknown is not None:
        return Finding("targets", fits=False, why=f"it cannot be told where the job goes: {asked.places_unknown}")
    if not asked.places:
        return Finding("targets", fits=False, why="neither the job nor its connection names an address")
    for place in asked.places:
        if not any(pattern.covers(place) for pattern in patterns):
            names = tuple(pattern.text for pattern in patterns)
            return Finding("targets", fits=False, why=f"{place} is not among {_some(names)}")
    return Finding("targets", fits=True, why=f"{', '.join(map(str, asked.places))}: covered")


def _one_of(condition: str, allowed: tuple[str, ...] | frozenset[str], found: str | None, nothing: str) -> Finding:
    if found is None:
        return Finding(condition, fits=False, why=nothing)
    if found in allowed:
        return Finding(condition, fits=True, why=f"{found} is listed")
    return Finding(condition, fits=False, why=f"{found} is not listed")


def _some(texts: tuple[str, ...]) -> str:
    shown = ", ".join(f"'{text}'" for text in texts[:5])
    return shown if len(texts) <= 5 else f"{shown} and {len(texts) - 5} more"
