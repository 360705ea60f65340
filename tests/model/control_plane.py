"""The control plane's rows of the job and of its current attempt, and every step on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.message import Message
from tests.model.rules import HAND_OUTS, Rules

RECORDED_AS = {"done": "success", "doubt": "in_doubt", "poison": "error", "cancelled": "cancelled"}
NOBODY = -1


class Plane(NamedTuple):
    """`state`: pending, dispatched, accepted (running included), success, error, in_doubt, cancelled."""

    state: str = "pending"
    number: int = 0
    """Of the last hand-out; 0 before the first."""
    holder: int = 0
    silent: bool = False
    """Unknown for silence, in doubt or waiting for another agent: a late result ends that."""
    asked: bool = False
    """Somebody wants the acknowledged job cancelled; its agent is told until there is a result."""
    tried: int = NOBODY
    """Who had it and may have run it, when it was given to another one."""
    results: int = 0
    """How often a result was recorded."""
    undone: tuple[Plane, ...] = ()
    """What the rows may be again after a power cut."""


def handed_out(plane: Plane, who: int, rules: Rules) -> Plane:
    """`controlplane.services.claims.hand_out`: a new attempt."""
    lazy = "hand out" in rules.lazy
    return committed(plane, lazy, state="dispatched", number=plane.number + 1, holder=who, silent=False)


def heard(plane: Plane, message: Message, rules: Rules) -> tuple[Plane, Message]:
    """The rows after a request, and its answer."""
    return _acknowledged(plane, message, rules) if message.kind == "ask" else _recorded(plane, message, rules)


def _acknowledged(plane: Plane, message: Message, rules: Rules) -> tuple[Plane, Message]:
    """`controlplane.services.acks.acknowledge`."""
    refusal = Message("refusal", message.agent, message.number)
    permit = Message("permit", message.agent, message.number)
    if plane.state == "pending" and message.number == plane.number and rules.skips_forgotten_numbers:
        # a hand-out that a power cut has undone: its number is not given a second time
        return committed(plane, lazy=False, number=plane.number + 1), refusal
    if not _is_current(plane, message, rules) or plane.state in {"pending", "cancelled"} or plane.silent:
        return plane, refusal
    if plane.state == "dispatched":
        return committed(plane, "acknowledgement" in rules.lazy, state="accepted"), permit
    return plane, permit


def _recorded(plane: Plane, message: Message, rules: Rules) -> tuple[Plane, Message]:
    """`controlplane.services.reports.report`: the first result of the current attempt, late ones included."""
    receipt = Message("receipt", message.agent, message.number)
    counts = plane.state in {"dispatched", "accepted"} or plane.silent or not rules.first_result_stands
    if not counts or not _is_current(plane, message, rules):
        return plane, receipt
    if message.result in {"doubt", "poison"} and not plane.silent and _goes_on(plane, rules):
        return committed(plane, lazy=False, state="pending", tried=plane.holder), receipt
    final, times = RECORDED_AS[message.result], min(2, plane.results + 1)
    return committed(plane, "result" in rules.lazy, state=final, silent=False, results=times), receipt


def _goes_on(plane: Plane, rules: Rules) -> bool:
    """`controlplane.services.retries.give_to_another`."""
    may_repeat = rules.idempotent or not rules.repeats_only_idempotent
    wanted = not plane.asked or not rules.cancelled_is_not_repeated
    return rules.tries_another_agent and may_repeat and wanted and plane.number < HAND_OUTS and plane.tried == NOBODY


def eligible(plane: Plane) -> tuple[int, ...]:
    """Who may be given it."""
    return tuple(who for who in (0, 1) if who != plane.tried)


def _is_current(plane: Plane, message: Message, rules: Rules) -> bool:
    return not rules.tells_claims_apart or (message.agent, message.number) == (plane.holder, plane.number - 1)


def timers(plane: Plane, rules: Rules) -> Iterator[tuple[str, Plane]]:
    """`controlplane.services.sweep`, the heartbeat `offline`, and `services.jobs.cancel`: each counts as a fault."""
    if plane.state == "dispatched" and plane.number < HAND_OUTS:
        yield "the lease runs out", committed(plane, lazy=False, state="pending")
    if plane.state == "accepted" and _goes_on(plane, rules):
        lost = committed(plane, lazy=False, state="pending", tried=plane.holder, silent=True)
        yield "its agent is not heard of, and another one gets it", lost
    elif plane.state == "accepted" and not rules.reassigns_silent:
        yield "its agent is not heard of", committed(plane, lazy=False, state="in_doubt", silent=True)
    if plane.state == "accepted" and rules.reassigns_silent and plane.number < HAND_OUTS:
        yield "its agent is not heard of", committed(plane, lazy=False, state="pending")
    if plane.state in {"pending", "dispatched"}:
        yield "an operator cancels", committed(plane, lazy=False, state="cancelled", silent=False)
    if plane.state == "accepted" and rules.cancels and not plane.asked:
        change = {"asked": True} if rules.cancel_waits_for_result else {"state": "cancelled"}
        yield "an operator cancels what its agent has", committed(plane, lazy=False, **change)


def power_cuts(plane: Plane) -> tuple[Plane, ...]:
    """What a power cut may leave."""
    return plane.undone if plane.number < HAND_OUTS else ()


def committed(plane: Plane, lazy: bool, **changes: object) -> Plane:
    """One transaction."""
    undone = (*plane.undone, plane._replace(undone=())) if lazy else ()
    return plane._replace(**changes, undone=undone)
