"""The crash table of the delivery promise, as far as the server is concerned: what comes out, row by row."""

from controlplane.models.tables import Attempt
from tests.controlplane.world import EXTENSIONS, result


def test_dies_between_claim_and_journal_same_agent_back_in_time(world):
    agent = world.agent()
    job = world.submit()
    world.poll(agent)
    world.clock.sleep(20)
    world.register(agent, features=list(EXTENSIONS))
    (again,) = world.poll(agent)
    assert again["attempt"] == 1
    world.ack(agent, again)
    world.report(agent, result(again))
    assert world.state(job) == "success"
    assert len(world.job(job)["attempts"]) == 1


def test_dies_between_claim_and_journal_for_good(world):
    a, b = world.agent(), world.agent()
    job = world.submit()
    world.clock.sleep(5)
    world.poll(a)
    world.clock.sleep(60)
    world.heartbeat(b)
    world.sweep()
    assert world.take(b)["attempt"] == 2
    assert world.job(job)["attempts"][0]["end"] == "released"


def test_dies_between_journal_and_acknowledgement(world):
    agent = world.agent()
    world.submit()
    (wire,) = world.poll(agent)
    world.clock.sleep(59)
    assert world.ack(agent, wire).refused == [], "the lease lives"
    job = world.submit()
    (wire,) = world.poll(agent)
    world.clock.sleep(60)
    world.heartbeat(agent)
    world.sweep()
    assert world.ack(agent, wire).accepted == [], "the lease is over: dropped on refusal"
    assert world.state(job) == "pending"


def test_the_answer_to_the_acknowledgement_is_lost(world):
    agent = world.agent()
    world.submit()
    wire = world.take(agent)
    world.clock.sleep(300)
    assert world.ack(agent, wire).refused == []


def test_dies_while_it_runs_and_reports_in_doubt_at_restart(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.clock.sleep(30)
    world.report(agent, result(wire, "error", outcome="in_doubt", output=None, exitCode=-1))
    assert world.state(job) == "in_doubt"


def test_the_result_is_posted_again_because_its_answer_was_lost(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    receipts = [world.report(agent, result(wire))[0].receipt for _ in range(3)]
    assert receipts == ["accepted", "duplicate", "duplicate"]
    assert world.read(lambda s, _now: s.query(Attempt).filter(Attempt.ended_at.is_not(None)).count()) == 1
    assert world.state(job) == "success"


def test_partitioned_judged_offline_comes_back(world):
    a, b = world.agent(), world.agent()
    running, unacknowledged = world.submit(), world.submit()
    world.clock.sleep(5)
    wires = world.poll(a, 2)
    world.ack(a, wires[0])
    world.heartbeat(a, running=[{"jobId": running, "attempt": 1}])
    for _ in range(30):
        world.clock.sleep(60)
        world.heartbeat(b)
        world.sweep()
    assert world.state(running) == "in_doubt"
    taken = world.take(b)
    assert taken["jobId"] == unacknowledged
    world.heartbeat(a)
    assert [r.reason for r in world.ack(a, wires[1]).refused] == ["reassigned"]
    assert world.report(a, result(wires[0]))[0].receipt == "accepted"
    assert world.state(running) == "success"


def test_the_control_plane_was_away_for_hours(world):
    agent = world.agent()
    jobs = [world.submit() for _ in range(5)]
    wires = world.poll(agent, 5)
    world.ack(agent, *wires)
    world.clock.sleep(6 * 3600)
    world.up_since = world.clock.now()
    for _ in range(60):
        world.clock.sleep(1)
        world.sweep()
    assert {r.receipt for r in world.report(agent, *map(result, wires))} == {"accepted"}
    assert {world.state(job) for job in jobs} == {"success"}


def test_the_agents_journal_is_lost(world):
    agent = world.agent()
    job = world.submit()
    world.take(agent)
    for _ in range(25):
        world.clock.sleep(60)
        world.register(agent, features=list(EXTENSIONS))
        assert world.poll(agent) == [], "what it may have started is not given out again"
        world.sweep()
    assert world.state(job) == "in_doubt"


def test_the_chosen_says_offline_before_it_started(world):
    a, b = world.agent(), world.agent()
    world.submit()
    world.clock.sleep(5)
    (wire,) = world.poll(a)
    world.heartbeat(a, "offline")
    world.clock.sleep(2)
    (other,) = world.poll(b)
    assert (other["jobId"], other["attempt"]) == (wire["jobId"], 2)
