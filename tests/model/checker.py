"""Visits every state of a protocol that so many faults can reach, those of the fewest faults first."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from tests.model.promises import broken_at_rest, broken_by_state, broken_by_step
from tests.model.protocol import Protocol, State
from tests.model.rules import Rules

Origins = dict[State, tuple[State, str] | None]


@dataclass
class Verdict:
    """What was found: the first broken promise with its history, or none."""

    states: int
    faults: int
    broken: str | None = None
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For people: a counterexample is read from top to bottom."""
        if self.broken is None:
            return f"{self.states} states, up to {self.faults} faults: every promise is kept"
        steps = [f"  {number}. {step}" for number, step in enumerate(self.history, 1)]
        return "\n".join([f"broken with {self.faults} faults: {self.broken}", *steps])


def check(rules: Rules, faults: int) -> Verdict:
    """Look at every state that is reachable with at most `faults` faults; stop at the first broken promise.

    A state reached again with more faults is not looked at again: what follows it was seen with more to spare.
    """
    protocol = Protocol(rules)
    origins: Origins = {}
    waves: list[deque[tuple[State, State | None, str]]] = [deque() for _ in range(faults + 1)]
    waves[0].append((State(), None, ""))
    for spent, wave in enumerate(waves):
        while wave:
            state, before, label = wave.popleft()
            if state in origins:
                continue
            origins[state] = None if before is None else (before, label)
            broken = broken_by_state(state, rules)
            rests = True
            for step, cost, after in protocol.steps(state, faults=spent < faults):
                rests = rests and cost > 0
                if (wrong := broken_by_step(state, after)) is not None:
                    return Verdict(len(origins), spent + cost, wrong, (*_history(origins, state), step))
                if after not in origins:
                    waves[spent + cost].append((after, state, step))
            broken = broken or (broken_at_rest(state) if rests else None)
            if broken is not None:
                return Verdict(len(origins), spent, broken, _history(origins, state))
    return Verdict(len(origins), faults)


def runs_in_circles(rules: Rules, faults: int) -> bool:
    """Whether, once faults have stopped, some order of steps goes on for ever: then rest would promise nothing."""
    protocol = Protocol(rules)
    seen: set[State] = set()
    waves: list[list[State]] = [[] for _ in range(faults + 1)]
    waves[0].append(State())
    follows: dict[State, list[State]] = {}
    for spent, wave in enumerate(waves):
        while wave:
            state = wave.pop()
            if state in seen:
                continue
            seen.add(state)
            steps = list(protocol.steps(state, faults=spent < faults))
            follows[state] = [after for _, cost, after in steps if not cost]
            for _, cost, after in steps:
                waves[spent + cost].append(after)
    into = dict.fromkeys(follows, 0)
    for afters in follows.values():
        for after in afters:
            into[after] += 1
    free = [state for state, number in into.items() if not number]
    sorted_so_far = 0
    while free:
        sorted_so_far += 1
        for after in follows[free.pop()]:
            into[after] -= 1
            if not into[after]:
                free.append(after)
    return sorted_so_far < len(follows)


def _history(origins: Origins, state: State) -> tuple[str, ...]:
    steps = []
    while (origin := origins[state]) is not None:
        state, label = origin
        steps.append(label)
    return tuple(reversed(steps))
