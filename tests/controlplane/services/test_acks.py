import pytest

from controlplane.services import jobs
from controlplane.services.lifecycle import LEASE_S
from tests.controlplane.world import result


def reasons(data):
    return [(r.job_id, r.attempt, r.reason) for r in data.refused]


def test_acknowledgement_is_the_permit_and_may_be_repeated(world):
    agent = world.agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    assert world.state(job) == "dispatched"
    for _ in range(3):
        data = world.ack(agent, wire)
        assert [(i.job_id, i.attempt) for i in data.accepted] == [(job, 1)]
        assert data.refused == []
        assert world.state(job) == "accepted"


def test_repeating_it_later_takes_nothing_back(world):
    agent = world.agent()
    world.submit()
    wire = world.take(agent)
    world.heartbeat(agent, running=[{"jobId": wire["jobId"], "attempt": 1}])
    world.ack(agent, wire)
    assert world.state(wire["jobId"]) == "running"
    world.report(agent, result(wire))
    world.ack(agent, wire)
    assert world.state(wire["jobId"]) == "success"


def test_cancelled_meanwhile(world):
    agent = world.agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    world.write(lambda s, now: jobs.cancel(s, now, job, "tok_test"))
    assert reasons(world.ack(agent, wire)) == [(job, 1, "cancelled")]
    assert world.state(job) == "cancelled"


def test_expired_meanwhile(world):
    agent = world.agent()
    job = world.submit()
    world.clock.sleep(86_400 - 10)
    world.heartbeat(agent)
    (wire,) = world.poll(agent)
    world.clock.sleep(LEASE_S)
    world.heartbeat(agent)
    world.sweep()
    assert world.state(job) == "expired"
    assert reasons(world.ack(agent, wire)) == [(job, 1, "expired")]


def test_given_to_another_meanwhile(world):
    a, b = world.agent(), world.agent()
    job = world.submit(pool_id="default")
    world.clock.sleep(5)
    (wire,) = world.poll(a)
    world.clock.sleep(LEASE_S)
    world.heartbeat(b)
    world.sweep()
    assert reasons(world.ack(a, wire)) == [(job, 1, "reassigned")], "nobody has it, but the lease is over"
    (other,) = world.poll(b)
    assert other["attempt"] == 2
    assert reasons(world.ack(a, wire)) == [(job, 1, "reassigned")]
    assert world.ack(b, other).refused == []
    assert reasons(world.ack(a, (job, 2))) == [(job, 2, "reassigned")]


def test_a_late_acknowledgement_is_good_while_nobody_swept_the_lease(world):
    agent = world.agent()
    world.submit()
    (wire,) = world.poll(agent)
    world.clock.sleep(LEASE_S + 1)
    assert world.ack(agent, wire).refused == []


def test_unknown(world):
    agent = world.agent()
    job = world.submit()
    assert reasons(world.ack(agent, ("job_nothing", 1), (job, 1), (job, -1))) == [
        ("job_nothing", 1, "unknown"),
        (job, 1, "unknown"),
        (job, -1, "unknown"),
    ]


def test_a_job_in_doubt_is_not_permitted_again(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.clock.sleep(4000)
    world.sweep()
    assert world.state(job) == "in_doubt"
    assert reasons(world.ack(agent, wire)) == [(job, 1, "expired")]


@pytest.mark.parametrize("status", ["success", "error"])
def test_a_job_that_a_person_has_settled_does_not_start_any_more(world, status):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.clock.sleep(4000)
    world.sweep()
    world.write(lambda s, now: jobs.settle(s, now, job, status=status, note="looked at it", by="tok_test"))
    assert reasons(world.ack(agent, wire)) == [(job, 1, "expired")]
    assert world.state(job) == status


def test_the_number_of_a_forgotten_hand_out_is_not_given_again(world):
    """A power cut has undone the hand-out 1; its agent has it in its journal and asks."""
    agent = world.agent()
    job = world.submit()
    for _ in range(2):
        assert reasons(world.ack(agent, (job, 1))) == [(job, 1, "unknown")]
    (wire,) = world.poll(agent)
    assert wire["attempt"] == 2
    assert reasons(world.ack(agent, (job, 1))) == [(job, 1, "unknown")], "a late repetition accepts nothing"
    assert world.ack(agent, wire).refused == []


def test_no_other_number_is_skipped(world):
    agent = world.agent()
    job = world.submit()
    world.ack(agent, (job, 3), (job, 0), (job, -1), (job, 2_000_000_000))
    (wire,) = world.poll(agent)
    assert wire["attempt"] == 1


@pytest.mark.parametrize("count", [0, 1, 40])
def test_every_item_is_in_exactly_one_list(world, count):
    agent = world.agent()
    for _ in range(count):
        world.submit()
    wires = world.poll(agent, 50)
    data = world.ack(agent, *wires, ("job_x", 1))
    assert len(data.accepted) == count
    assert len(data.refused) == 1


def test_credentials_are_wiped_with_the_permit(world):
    agent = world.agent()
    job = world.submit(
        "system.storeCredential", params={"connectionId": "c", "credentials": {"password": "s3cret-canary"}}
    )
    (wire,) = world.poll(agent)
    assert wire["params"]["credentials"] == {"password": "s3cret-canary"}
    assert "s3cret-canary" not in repr(world.job(job))
    world.ack(agent, wire)
    assert world.database.scrub()
    files = [p for p in world.database.file.parent.iterdir() if p.name.startswith(world.database.file.name)]
    assert all(b"s3cret-canary" not in p.read_bytes() for p in files)
    assert world.job(job)["params"] == {"connectionId": "c", "credentials": "[redacted]"}
