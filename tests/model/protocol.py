"""Both parties on one network: every step of everything there is, and every fault."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from tests.model import agent as at_agent
from tests.model import control_plane
from tests.model.agent import POWER_CUT, Agent
from tests.model.control_plane import Plane
from tests.model.message import TO_CONTROL_PLANE, Message, is_under_way
from tests.model.rules import HAND_OUTS, Rules

NOTHING: frozenset[Message] = frozenset()


class State(NamedTuple):
    """What the disks, Redis, the workers and the network hold."""

    plane: Plane = Plane()
    agents: tuple[Agent, Agent] = (Agent(), Agent())
    net: frozenset[Message] = NOTHING


START = State()


class Protocol:
    """Each step as (what happens, how many faults that is, the next state)."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        # a party's steps depend on its own part alone, and few such parts exist
        self._alone = cache(lambda agent: tuple(at_agent.alone(agent, rules)))
        self._failures = cache(lambda agent: tuple(at_agent.failures(agent)))
        self._wanted = cache(at_agent.wanted)
        self._told = cache(lambda agent, message: at_agent.told(agent, message, rules))
        self._ordered = cache(lambda agent, number: at_agent.ordered(agent, number, rules))
        self._heard = cache(lambda plane, message: control_plane.heard(plane, message, rules))
        self._timers = cache(lambda plane: tuple(control_plane.timers(plane, rules)))

    def steps(self, state: State, *, faults: bool) -> Iterator[tuple[str, int, State]]:
        """Every step that is possible in `state`; without `faults`, those that happen by themselves."""
        yield from self._hand_outs(state)
        if state.plane.asked:
            yield from self._orders(state)
        for who in (0, 1):
            for label, after, said in self._alone(state.agents[who]):
                net = state.net if said is None else state.net | {said._replace(agent=who)}
                yield f"{'AB'[who]}: {label}", 0, self._next(_with(state, who, after), net)
        for message in state.net:
            yield from self._deliveries(state, message, faults=faults)
        if faults:
            yield from self._failing(state)

    def _next(self, state: State, net: frozenset[Message]) -> State:
        """`state` with this network, to which agents say at once what they have to say: later is the same as slow."""
        agents = state.agents
        for who in (0, 1):
            for said in self._wanted(agents[who], who):
                if is_under_way(net, said):
                    continue
                net |= {said}
                if said.kind == "report" and not self.rules.keeps_outbox:
                    sent = agents[who].rows[said.number]._replace(answered=True)
                    agent = at_agent.write(agents[who], said.number, "mark", sent, self.rules)
                    agents = _with(state, who, agent).agents
        return State(state.plane, agents, net)

    def _hand_outs(self, state: State) -> Iterator[tuple[str, int, State]]:
        """The answer to an agent's poll: `controlplane.services.claims.hand_out`."""
        plane, agents = state.plane, state.agents
        if plane.state == "pending" and plane.number < HAND_OUTS:
            whom = control_plane.eligible(plane)
            # as long as nothing has happened, the two are one another's mirror image
            for who in whom[:1] if state == START else whom:
                claimed = control_plane.handed_out(plane, who, self.rules)
                offer = Message("offer", who, plane.number if self.rules.tells_claims_apart else 0)
                yield f"control plane: hands out to {'AB'[who]}", 0, State(claimed, agents, state.net | {offer})
        elif plane.state == "dispatched":
            # who has it in the journal asks for the permit and is not offered it again; a doubled offer is a fault
            offer = Message("offer", plane.holder, plane.number - 1 if self.rules.tells_claims_apart else 0)
            if agents[plane.holder].rows[offer.number].state == "new" and offer not in state.net:
                yield "control plane: offers again", 0, State(plane, agents, state.net | {offer})

    def _orders(self, state: State) -> Iterator[tuple[str, int, State]]:
        """An order to cancel is repeated until there is a result, and may be as late as it likes: the agent hears it
        sooner or later, or has ended the job before.
        """
        plane = state.plane
        agent = state.agents[plane.holder]
        after = self._ordered(agent, plane.number - 1 if self.rules.tells_claims_apart else 0)
        if after != agent:
            label = f"{'AB'[plane.holder]}: hears that it is to be cancelled"
            yield label, 0, self._next(_with(state, plane.holder, after), state.net)

    def _deliveries(self, state: State, message: Message, *, faults: bool) -> Iterator[tuple[str, int, State]]:
        rest = state.net - {message}
        name = f"{message.kind} of {'AB'[message.agent]}, hand-out {message.number + 1}"
        agent = state.agents[message.agent]
        if message.kind in TO_CONTROL_PLANE:
            plane, answer = self._heard(state.plane, message)
            after = State(plane, state.agents, state.net)
            # an answer that changes nothing now never will: only a death of the agent takes its rows back
            matters = not message.stray and self._told(agent, answer) is not agent
            back = frozenset({answer}) if matters else NOTHING
        else:
            after, back = _with(state, message.agent, self._told(agent, message)), NOTHING
        yield f"network: delivers the {name}", 0, self._next(after, rest | back)
        if faults:
            yield f"network: loses the {name}", 1, self._next(state, rest)
            if not message.stray and message.kind in {"offer", "ask", "report"}:
                again = message._replace(stray=message.kind != "offer")
                doubled = self._next(after, rest | back | {again})
                yield f"network: delivers the {name}, and will once more", 1, doubled

    def _failing(self, state: State) -> Iterator[tuple[str, int, State]]:
        for label, plane in self._timers(state.plane):
            yield f"control plane: {label}", 1, self._next(State(plane, state.agents, state.net), state.net)
        for plane in control_plane.power_cuts(state.plane):
            yield f"control plane: {POWER_CUT}", 1, self._next(State(plane, state.agents, NOTHING), NOTHING)
        for who in (0, 1):
            for label, disconnects, agent in self._failures(state.agents[who]):
                net = state.net
                if disconnects:
                    net = frozenset(m for m in net if m.agent != who or m.kind in TO_CONTROL_PLANE)
                yield f"{'AB'[who]}: {label}", 1, self._next(_with(state, who, agent), net)


def _with(state: State, who: int, agent: Agent) -> State:
    return State(state.plane, (agent, state.agents[1]) if who == 0 else (state.agents[0], agent), state.net)
