"""What is promised for a job, as conditions on states, on steps, and on what is left when nothing more happens."""

from __future__ import annotations

from tests.model.control_plane import NOBODY
from tests.model.protocol import State
from tests.model.rules import Rules

AT_MOST_ONE_START = "at most one start"
AT_MOST_ONE_AGENT = "at most one agent starts it"
ONE_RESULT = "exactly one recorded result"
TRUE_SUCCESS = "no success without its effect having returned"
NO_START_AFTER_END = "nothing starts once it is answered"
ANSWERED = "no job without an answer"
CANCEL_HOLDS = "what is to be cancelled is not run again"
FASTER_SUCCESS = "a job that was faster than its cancel stays a success"
HONEST_DOUBT = "in doubt only where a started job was cut"


def broken_by_state(state: State, rules: Rules) -> str | None:
    """The promise that `state` breaks, whatever comes later."""
    plane, (a, b) = state.plane, state.agents
    if not (a.starts or b.starts or plane.results or plane.asked):  # most states
        return None
    if a.starts + b.starts > 1 and not rules.idempotent:
        return AT_MOST_ONE_START
    if a.starts and b.starts and plane.tried == NOBODY:
        return AT_MOST_ONE_AGENT
    if plane.results > 1:
        return ONE_RESULT
    if plane.state == "success" and not (a.returned or b.returned):
        return TRUE_SUCCESS
    return _broken_by_cancel(state)


def _broken_by_cancel(state: State) -> str | None:
    plane = state.plane
    if plane.asked and plane.state in {"pending", "dispatched"}:
        return CANCEL_HOLDS
    if plane.state == "cancelled" and plane.results and state.agents[plane.holder].returned and not _was_cut(state):
        return FASTER_SUCCESS
    return None


def broken_by_step(before: State, after: State) -> str | None:
    """The promise that a step breaks."""
    if before.agents is after.agents:
        return None
    for who in (0, 1):
        was, now = before.agents[who], after.agents[who]
        if now.starts > was.starts and _is_over(before, who):
            return NO_START_AFTER_END
        if was.rows is not now.rows and any(
            one.state == "requeued" and other.state == "started" for one, other in zip(was.rows, now.rows, strict=True)
        ):
            return CANCEL_HOLDS
    return None


def _is_over(state: State, who: int) -> bool:
    """Whether this agent must not begin any more.

    One that was lost with the job may: that does no harm, or the job would not have been given to another.
    """
    return bool(state.plane.results or state.plane.state == "cancelled") and who != state.plane.tried


def broken_at_rest(state: State) -> str | None:
    """The promise that `state` breaks when nothing more happens by itself: faults have stopped, all is delivered."""
    plane, agents = state.plane, state.agents
    lost_journal = any(agent.lost_journal for agent in agents)
    if plane.state in {"pending", "dispatched", "accepted"}:
        # what an agent has forgotten with its journal, the control plane answers for silence
        return None if plane.state == "accepted" and lost_journal else ANSWERED
    if plane.state != "in_doubt" or lost_journal or _was_cut(state):
        return None
    # silent for minutes, then told "too late" before it had started: the one doubt without a cut; where a job was given
    # to a second agent that this happened to, the first one's result is noted with its attempt for whoever settles it
    begun = [agent.starts for who, agent in enumerate(agents) if who != plane.tried]
    return None if plane.silent and not any(begun) else HONEST_DOUBT


def _was_cut(state: State) -> bool:
    return any(agent.was_cut for agent in state.agents)
