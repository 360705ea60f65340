"""What is on the network."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """`kind`: offer; ask, answered by permit or refusal; report, answered by receipt."""

    kind: str
    agent: int
    number: int
    """Of the hand-out, from 0."""
    result: str = ""
    stray: bool = False
    """Nobody waits for its answer any more."""


TO_CONTROL_PLANE = frozenset({"ask", "report"})


def is_under_way(net: frozenset[Message], said: Message) -> bool:
    """Whether this request, or the answer to it, is on the network: then it is not asked again."""
    if said in net:
        return True
    kinds = ("ask", "permit", "refusal") if said.kind == "ask" else ("report", "receipt")
    for message in net:  # a loop, not any(): this is where most of the time goes
        if message.agent == said.agent and message.number == said.number and message.kind in kinds:  # noqa: SIM102 - reads as the rule it stands for
            if not message.stray:
                return True
    return False
