"""What is promised for a job, as conditions on states, on steps, and on what is left when nothing more happens."""

from __future__ import annotations

from tests.model.protocol import State
from tests.model.rules import Rules

AT_MOST_ONE_START = "at most one start"
AT_MOST_ONE_AGENT = "at most one agent starts it"
ONE_RESULT = "exactly one recorded result"
TRUE_SUCCESS = "no success without its effect having returned"
NO_START_AFTER_END = "nothing starts once it is answered"
ANSWERED = "no job without an answer"
HONEST_DOUBT = "in doubt only where a started job was cut"


def broken_by_state(state: State, rules: Rules) -> str | None:
    """The promise that `state` breaks, whatever comes later."""
    plane, (a, b) = state.plane, state.agents
    if not rules.idempotent and a.starts + b.starts > 1:
        return AT_MOST_ONE_START
    if a.starts and b.starts:
        return AT_MOST_ONE_AGENT
    if plane.results > 1:
        return ONE_RESULT
    if plane.state == "success" and not (a.returned or b.returned):
        return TRUE_SUCCESS
    return None


def broken_by_step(before: State, after: State) -> str | None:
    """The promise that a step breaks."""
    if before.agents is after.agents or not (before.plane.results or before.plane.state == "cancelled"):
        return None
    starts = [sum(agent.starts for agent in state.agents) for state in (before, after)]
    return NO_START_AFTER_END if starts[1] > starts[0] else None


def broken_at_rest(state: State) -> str | None:
    """The promise that `state` breaks when nothing more happens by itself: faults have stopped, all is delivered."""
    plane, agents = state.plane, state.agents
    lost_journal = any(agent.lost_journal for agent in agents)
    if plane.state in {"pending", "dispatched", "accepted"}:
        # what an agent has forgotten with its journal, the control plane answers for silence
        return None if plane.state == "accepted" and lost_journal else ANSWERED
    if plane.state != "in_doubt" or lost_journal or any(agent.was_cut for agent in agents):
        return None
    # silent for minutes, then told "too late" before it had started: the one doubt without a start
    return None if plane.silent and not any(agent.starts for agent in agents) else HONEST_DOUBT
