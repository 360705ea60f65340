"""What agents say of the end of their own record is kept, and what contradicts it is told apart and said."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import func, select

from controlplane.models.tables import Agent, AuditHead
from controlplane.services import agents, audit_heads, fleet, sweep
from controlplane.services.errors import ConflictError
from tests.controlplane.world import EXTENSIONS

HERE, THERE = "a" * 32 + ".0001", "b" * 32 + ".0001"
HOUR = 3600.0


def hash_of(seq, chain="honest"):
    return hashlib.sha256(f"{chain} {seq}".encode()).hexdigest()


class Witnessed:
    def __init__(self, world, instance=HERE):
        self.world = world
        self.uptime = 0
        self.id = world.agent(features=(*EXTENSIONS, "instance"), instance=instance)

    def beats(self, seq, chain="honest", *, after=30.0, **more):
        self.world.clock.sleep(after)
        self.uptime += int(after)
        said = {"seq": seq, "hash": hash_of(seq, chain)}
        self.world.heartbeat(self.id, **{"audit": said, "uptimeSeconds": self.uptime, **more})

    def starts_again(self, instance=HERE):
        self.world.heartbeat(self.id, "offline", uptimeSeconds=self.uptime)
        self.uptime = 0
        self.world.register(self.id, features=[*EXTENSIONS, "instance"], instance=instance)

    def heads(self):
        rows = self.world.read(lambda s, _now: audit_heads.list_heads(s, self.id, before=None, limit=1000))
        return [(row.chain, row.seq, row.verdict) for row in reversed(rows)]

    @property
    def view(self):
        def work(session, now):
            return agents.view(agents.get(session, self.id), fleet.Figures(), now)

        return self.world.read(work)

    @property
    def warning(self):
        return self.view["auditWarning"]

    def accept(self, note=None):
        def work(session, now):
            audit_heads.accept(session, now, agents.get(session, self.id), by="tok_7", note=note)

        self.world.write(work)

    def audited(self):
        return [row["action"] for row in self.world.audited(self.id) if row["action"].startswith("agent.record_")]


@pytest.fixture
def agent(world):
    return Witnessed(world)


def test_a_record_that_grows_is_taken_down_when_it_has_changed(agent):
    for seq in (1, 1, 3, 3, 9):
        agent.beats(seq)
    agent.beats(10, after=5)  # sooner than is worth a row
    agent.beats(11, after=10)
    assert agent.heads() == [(1, 1, "grows"), (1, 3, "grows"), (1, 9, "grows"), (1, 11, "grows")]
    assert (agent.warning, agent.view["status"], agent.audited()) == (None, "online", [])


@pytest.mark.parametrize(
    ("seq", "chain", "kind", "says"),
    [
        (9, "other", "rewritten", "its entry 9 is another one"),
        (3, "other", "rewritten", "its entry 3 is another one"),
        (3, "honest", "cut", "ends with entry 3, before entry 9, seen"),
        (7, "honest", "cut", "restored from a backup"),
    ],
)
def test_a_record_that_contradicts_what_was_seen_is_warned_of(agent, seq, chain, kind, says):
    agent.beats(3)
    agent.beats(9)
    agent.beats(seq, chain)
    warning = agent.warning
    assert (warning["kind"], says in warning["sentence"]) == (kind, True)
    assert agent.view["status"] == "degraded"
    agent.beats(seq, chain)
    agent.beats(12, chain)
    assert agent.heads()[2:4] == [(1, seq, kind), (1, 12, "grows")]
    assert agent.audited() == [f"agent.record_{kind}"], "once, however long it goes on"
    assert agent.warning["kind"] == kind, "it stays until somebody has looked"
    (row,) = [r for r in agent.world.audited(agent.id) if r["action"] == f"agent.record_{kind}"]
    assert (row["detail"]["seq"], row["detail"]["before"]["seq"]) == (seq, 9)


def test_one_that_was_written_anew_past_what_was_seen_is_found_when_a_number_comes_again(agent):
    agent.beats(5)
    agent.beats(9)
    agent.beats(2, "other")
    assert agent.warning["kind"] == "cut", "nobody has seen entry 2"
    agent.beats(5, "other")
    assert agent.warning["kind"] == "rewritten"
    assert agent.audited() == ["agent.record_cut", "agent.record_rewritten"]


def test_a_state_directory_begun_anew_is_no_tampering_and_is_said_apart(agent):
    agent.beats(9)
    agent.starts_again(THERE)
    agent.beats(2, "another directory's")
    agent.beats(9, "another directory's")
    assert agent.heads() == [(1, 9, "grows"), (2, 2, "begun_anew"), (2, 9, "grows")]
    assert agent.warning["kind"] == "begun_anew"
    assert "its state was deleted" in agent.warning["sentence"]
    assert agent.view["status"] == "online"
    agent.beats(4, "another directory's")
    assert agent.warning["kind"] == "cut", "the graver word"
    agent.starts_again(HERE)
    agent.beats(9)
    assert agent.warning["kind"] == "cut"
    assert agent.heads()[-1] == (3, 9, "begun_anew")


def test_a_reboot_or_a_copy_of_the_directory_goes_on_with_the_record(agent):
    agent.beats(9)
    agent.starts_again("a" * 32 + ".0002")
    agent.beats(9)
    agent.beats(10)
    assert agent.heads() == [(1, 9, "grows"), (1, 10, "grows")]
    assert agent.warning is None


def test_a_heartbeat_that_was_held_up_on_its_way_says_nothing(agent):
    agent.beats(5)
    agent.beats(9)
    agent.beats(7, uptimeSeconds=agent.uptime - 10)
    assert agent.warning is None
    agent.beats(10)
    assert agent.heads() == [(1, 5, "grows"), (1, 9, "grows"), (1, 10, "grows")]
    agent.starts_again()
    agent.beats(7)
    assert agent.warning["kind"] == "cut", "the first one after a start is none that was held up"


def test_what_is_no_hash_is_no_head_and_agents_without_a_record_have_none(agent):
    agent.beats(5, audit={"seq": 5, "hash": "x" * 64})
    agent.beats(5, audit=None)
    assert agent.heads() == []
    assert agent.warning is None


def test_an_accepted_record_counts_from_where_it_is(agent):
    agent.beats(9)
    with pytest.raises(ConflictError):
        agent.accept()
    agent.beats(3)
    agent.accept("restored from Tuesday's backup")
    assert agent.warning is None
    agent.beats(9, "after the backup")
    assert agent.warning is None
    assert agent.heads() == [(1, 9, "grows"), (2, 3, "cut"), (2, 9, "grows")]
    row = agent.world.audited(agent.id)[-1]
    assert (row["actor"], row["action"]) == ("tok_7", "agent.record_accepted")
    assert row["detail"] == {"kind": "cut", "note": "restored from Tuesday's backup", "seq": 3}


def test_old_heads_are_thinned_and_contradictions_and_the_newest_stay(agent):
    world = agent.world
    other = Witnessed(world)
    other.beats(1)
    for seq in range(1, 121):
        agent.beats(seq, after=600)
    agent.beats(60, "other", after=600)
    day, month = 24 * HOUR, 31 * 24 * HOUR
    world.clock.sleep(day + 600)
    world.write(sweep.housekeeping)
    assert len(agent.heads()) == pytest.approx(20, abs=2)
    assert (1, 60, "rewritten") in agent.heads()
    world.clock.sleep(month)
    world.write(sweep.housekeeping)
    assert len(agent.heads()) <= 4
    assert (1, 60, "rewritten") in agent.heads()
    world.clock.sleep(400 * day)
    world.write(sweep.housekeeping)
    assert agent.heads() == [(1, 60, "rewritten")]
    assert other.heads() == [(1, 1, "grows")]


def test_a_deleted_agent_leaves_none(agent):
    agent.beats(5)
    agent.world.write(lambda s, now: agents.remove(s, now, agent.id))
    assert agent.world.read(lambda s, _now: s.scalar(select(func.count()).select_from(AuditHead))) == 0
    assert agent.world.read(lambda s, _now: s.get(Agent, agent.id)) is None
