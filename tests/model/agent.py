"""One agent: its journal, its Redis, its workers; every step of theirs and everything that can end them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.model.message import Message
from tests.model.rules import DEATHS, HAND_OUTS, WORKERS, Rules

OUTBOX = frozenset({"done", "doubt", "poison", "cancelled"})
STARTED = frozenset({"started", "ending"})
POWER_CUT = "power cut"


class Row(NamedTuple):
    """A hand-out in the journal.

    `state`: new (unknown), taken, queued, started, ending (started, and marked to be cancelled), requeued (queued again
    though marked: in wrong variants), done, doubt, poison, cancelled.
    """

    state: str = "new"
    deaths: int = 0
    answered: bool = False
    """The control plane has answered for its result (`acked`)."""


class Worker(NamedTuple):
    """A worker process with a job. `stage`: popped, fenced, over (the effect has happened)."""

    stage: str
    number: int


class Agent(NamedTuple):
    """What follows `undone` happened in the world: no power cut takes it back."""

    rows: tuple[Row, ...] = (Row(),) * HAND_OUTS
    queue: tuple[int, ...] = (0,) * HAND_OUTS
    """How often each hand-out's key stands in Redis."""
    workers: tuple[Worker, ...] = ()
    undone: tuple[tuple[Row, ...], ...] = ()
    """What the journal may be again after a power cut."""
    starts: int = 0
    returned: bool = False
    """The effect has returned."""
    was_cut: bool = False
    """A worker died between the start fence and the record."""
    lost_journal: bool = False


def told(agent: Agent, message: Message, rules: Rules) -> Agent:
    """The agent after an offer or an answer; the same object when that changes nothing."""
    number = message.number
    row = agent.rows[number]
    if message.kind == "offer":  # `Journal.take`, durable before anything else happens
        known = row.state != "new" and rules.deduplicates
        return write(agent, number, "take", row._replace(answered=False) if known else Row("taken"), rules)
    if message.kind == "permit" and row.state == "taken":  # `poller.permits`, `Journal.acknowledge`
        return write(agent, number, "permit", Row("queued"), rules)
    if message.kind == "refusal" and row.state == "taken":
        return write(agent, number, "permit", Row(), rules)
    if message.kind == "receipt" and row.state in OUTBOX:  # `poller.reporter`, `Journal.mark_reported`
        return write(agent, number, "mark", row._replace(answered=True), rules)
    return agent


def ordered(agent: Agent, number: int, rules: Rules) -> Agent:
    """The agent after it has heard that a hand-out is to be cancelled: `poller.orders`, `Journal.cancel`."""
    row = agent.rows[number]
    if row.state in {"taken", "queued"} or (
        row.state == "done" and not row.answered and not rules.faster_success_stands
    ):
        return write(agent, number, "cancel", row._replace(state="cancelled"), rules)
    return write(agent, number, "cancel", row._replace(state="ending"), rules) if row.state == "started" else agent


def wanted(agent: Agent, who: int) -> tuple[Message, ...]:
    """What an agent says until it is answered: `poller.permits` and `poller.reporter`."""
    says = []
    for number, row in enumerate(agent.rows):
        if row.state == "taken":
            says.append(Message("ask", who, number))
        elif row.state in OUTBOX and not row.answered:
            says.append(Message("report", who, number, row.state))
    return tuple(says)


def alone(agent: Agent, rules: Rules) -> Iterator[tuple[str, Agent, Message | None]]:
    """The steps that need nobody else; the last of each is what a worker of a wrong variant says."""
    for number, row in enumerate(agent.rows):
        name = f"hand-out {number + 1}"
        if _startable(row, rules) and not agent.queue[number]:
            # `poller.dispatch.put`, and `poller.reconciler` for what Redis has lost or a worker has just popped
            yield f"{name} is enqueued", agent._replace(queue=_put(agent.queue, number, 1)), None
        if agent.queue[number] and len(agent.workers) < WORKERS:
            # `workers.worker.AgentWorker.pop`: from here the key is in no list of Redis
            popped = agent._replace(queue=_put(agent.queue, number, agent.queue[number] - 1))
            yield f"a worker pops {name}", _busy(popped, Worker("popped", number)), None
        if row.state in STARTED and not any(w.number == number and w.stage != "popped" for w in agent.workers):
            yield f"the bookkeeper settles {name}, whose worker is gone", _settled(agent, number, rules), None
    for worker in dict.fromkeys(agent.workers):
        yield from _worker_steps(agent, worker, rules)


def _worker_steps(agent: Agent, worker: Worker, rules: Rules) -> Iterator[tuple[str, Agent, Message | None]]:
    """`workers.jobs.JobRunner.run`: fence, effect, record; and the same in wrong order."""
    number, idle = worker.number, _idle(agent, worker)
    row, name = agent.rows[number], f"hand-out {worker.number + 1}"
    if row.state == "ending" and worker.stage == "fenced":  # `workers.jobs`, `workers.pool`
        ended = write(idle, number, "finish", row._replace(state="cancelled"), rules)
        yield f"a worker ends {name}, which is to be cancelled", ended, None
    match worker.stage:
        case "popped" if not (_startable(row, rules) or (not rules.fence and row.state != "new")):
            yield f"a worker finds {name} {row.state} and drops it", idle, None
        case "popped" if rules.effect_after_fence:
            yield f"a worker starts {name}", _fenced(idle, number, rules), None
        case "popped":
            yield f"the effect of {name} happens", _began(_busy(idle, Worker("unmarked", number)), over=True), None
        case "unmarked":
            yield f"a worker marks {name}", write(idle, number, "finish", row._replace(state="done"), rules), None
        case "fenced" if rules.done_after_effect:
            yield f"the effect of {name} happens", _began(_busy(idle, Worker("over", number)), over=True), None
        case "fenced":
            early = _began(_busy(_finished(idle, number, rules), Worker("recorded", number)), over=False)
            yield f"a worker records {name} as done", early, None
        case "recorded":
            yield f"the effect of {name} happens", idle._replace(returned=True), None
        case "over" if not rules.done_before_report:
            said = Message("report", 0, number, "done")
            yield f"a worker reports {name}", _busy(idle, Worker("reported", number)), said
        case _:
            yield f"a worker records {name} as done", _finished(idle, number, rules), None


def _startable(row: Row, rules: Rules) -> bool:
    return row.state in {"queued", "requeued"} or (row.state == "taken" and not rules.waits_for_permit)


def _fenced(agent: Agent, number: int, rules: Rules) -> Agent:
    """`Journal.start`. Whoever pops another copy of the key drops it: with the fence, those are forgotten at once."""
    if rules.fence:
        others = tuple(worker for worker in agent.workers if worker != Worker("popped", number))
        agent = agent._replace(queue=_put(agent.queue, number, 0), workers=others)
    started = write(agent, number, "start", agent.rows[number]._replace(state="started"), rules)
    return _busy(started, Worker("fenced", number))


def _began(agent: Agent, *, over: bool) -> Agent:
    return agent._replace(starts=min(DEATHS + 1, agent.starts + 1), returned=agent.returned or over)


def _finished(agent: Agent, number: int, rules: Rules) -> Agent:
    """`Journal.finish`."""
    row = agent.rows[number]
    return write(agent, number, "finish", row._replace(state="done"), rules) if row.state in STARTED else agent


def _settled(agent: Agent, number: int, rules: Rules) -> Agent:
    """`Journal.owner_died`."""
    deaths, marked = agent.rows[number].deaths + 1, agent.rows[number].state == "ending"
    state = "doubt" if not rules.idempotent else "poison" if deaths >= DEATHS else "queued"
    if marked:
        state = "cancelled" if rules.cancelled_is_not_repeated else state.replace("queued", "requeued")
    return write(agent, number, "settle", Row(state, deaths), rules)


def write(agent: Agent, number: int, step: str, row: Row, rules: Rules) -> Agent:
    """One transaction of the journal."""
    if row == agent.rows[number]:
        return agent
    undone = (*agent.undone, agent.rows) if step in rules.lazy else ()
    return agent._replace(rows=_put(agent.rows, number, row), undone=undone)


def failures(agent: Agent) -> Iterator[tuple[str, bool, Agent]]:
    """What goes wrong at an agent; the flag: what was on its way to the agent is lost too."""
    for worker in dict.fromkeys(agent.workers):
        yield "a worker is killed", False, _dead(agent, worker)
    if any(agent.queue):
        yield "Redis is flushed", False, agent._replace(queue=Agent().queue)
    stopped = agent
    for worker in agent.workers:
        stopped = _dead(stopped, worker)
    if agent != Agent():
        yield "killed and started again", True, stopped
    for earlier in agent.undone:
        yield POWER_CUT, True, stopped._replace(rows=earlier, undone=())
    if agent.rows != Agent().rows:
        empty = stopped._replace(rows=Agent().rows, queue=Agent().queue, undone=(), lost_journal=True)
        yield "killed, and its journal is lost", True, empty


def _dead(agent: Agent, worker: Worker) -> Agent:
    agent = _idle(agent, worker)
    return agent if worker.stage == "popped" else agent._replace(was_cut=True)


def _busy(agent: Agent, worker: Worker) -> Agent:
    return agent._replace(workers=tuple(sorted((*agent.workers, worker))))


def _idle(agent: Agent, worker: Worker) -> Agent:
    rest = list(agent.workers)
    rest.remove(worker)
    return agent._replace(workers=tuple(rest))


def _put(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])
