import pytest
from sqlalchemy import func, select

from controlplane.models.tables import AgentKey, Job, Notification, Pool
from controlplane.services import agent_link, agents, keys, sweep
from controlplane.services.lifecycle import LEASE_S
from tests.controlplane.world import result


def test_nothing_due_changes_nothing(world):
    world.submit() if world.agent() else None
    assert world.sweep() == 0


def test_a_job_nobody_took_expires_after_its_pools_queue_age(world):
    world.agent()
    world.write(lambda s, _now: setattr(s.get(Pool, "default"), "max_queue_age_s", 100))
    job = world.submit()
    world.clock.sleep(99)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "expired"
    assert "maximum queue age" in world.job(job)["statusReason"]


def test_an_unacknowledged_lease_ends_and_the_job_gets_the_next_attempt(world):
    a, b = world.agent(), world.agent()
    job = world.submit()
    world.clock.sleep(5)
    (wire,) = world.poll(a)
    world.clock.sleep(LEASE_S - 1)
    world.heartbeat(a)
    world.heartbeat(b)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "pending"
    assert "did not acknowledge" in world.job(job)["statusReason"]
    assert wire["attempt"] == 1
    world.clock.sleep(5)
    assert [j["attempt"] for j in world.poll(b)] == [2]


def test_an_agent_gone_silent_gives_back_what_it_did_not_acknowledge(world):
    agent = world.agent()
    job = world.submit()
    world.clock.sleep(50)
    world.poll(agent)
    world.clock.sleep(40)
    assert world.sweep() == 1, "90 s without a heartbeat, 40 s into the lease"
    assert world.state(job) == "pending"


def test_accepted_and_running_jobs_are_never_given_to_another(world):
    a, b = world.agent(), world.agent()
    jobs = [world.submit() for _ in range(2)]
    world.clock.sleep(5)
    wires = world.poll(a, 2)
    world.ack(a, *wires)
    world.heartbeat(a, running=[{"jobId": jobs[0], "attempt": 1}])
    for _ in range(200):
        world.clock.sleep(60)
        world.heartbeat(b)
        world.sweep()
        assert world.poll(b, 5) == []
    assert {world.state(j) for j in jobs} == {"in_doubt"}


@pytest.mark.parametrize(("timeout", "silence"), [(60, 600), (900, 960), (3600, 3660)])
def test_a_silent_running_job_is_in_doubt_after_10_min_or_its_deadline_and_60_s(world, timeout, silence):
    agent = world.agent()
    job = world.submit(timeout=timeout)
    wire = world.take(agent)
    world.heartbeat(agent, running=[{"jobId": job, "attempt": wire["attempt"]}])
    world.clock.sleep(silence - 1)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "in_doubt"


def test_heartbeats_renew_running_jobs_but_not_for_ever(world):
    agent = world.agent()
    job = world.submit(timeout=60)
    wire = world.take(agent)
    running = [{"jobId": job, "attempt": wire["attempt"]}]
    world.heartbeat(agent, running=running)
    for _ in range(60):
        world.clock.sleep(60)
        world.heartbeat(agent, running=running)
        assert world.sweep() == 0
    world.clock.sleep(60)
    world.heartbeat(agent, running=running)
    assert world.sweep() == 1
    assert world.state(job) == "in_doubt"


def test_an_accepted_job_may_start_late_and_run_its_whole_time(world):
    agent = world.agent()
    job = world.submit(timeout=300)
    world.take(agent)
    world.clock.sleep(900 + 300 + 59)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "in_doubt"


def test_a_base_agents_job_ends_in_doubt_after_slot_wait_time_out_and_margin_never_reassigned(world):
    agent = world.base_agent()
    job = world.submit(timeout=3600)
    (wire,) = world.poll(agent)
    world.clock.sleep(60 + 3600 + 299)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "in_doubt"
    world.report(agent, result(wire), features=())
    assert world.state(job) == "success"


def test_a_pools_lost_after_is_obeyed(world):
    agent = world.agent()
    world.write(lambda s, _now: setattr(s.get(Pool, "default"), "lost_after_s", 3000))
    job = world.submit(timeout=60)
    world.take(agent)
    world.heartbeat(agent, running=[{"jobId": job, "attempt": 1}])
    world.clock.sleep(2999)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1


def test_our_own_absence_is_nobodys_silence(world):
    agent = world.agent()
    running, unacknowledged = world.submit(timeout=60), world.submit(timeout=60)
    wires = world.poll(agent, 2)
    world.ack(agent, wires[0])
    world.heartbeat(agent, running=[{"jobId": running, "attempt": 1}])
    world.clock.sleep(4 * 3600)
    world.up_since = world.clock.now()
    assert world.sweep() == 0, "the control plane was away, not the agent"
    assert world.ack(agent, wires[1]).refused == []
    world.clock.sleep(60)
    world.report(agent, result(wires[0]), result(wires[1]))
    assert world.state(running) == world.state(unacknowledged) == "success"


def test_every_held_state_ends_by_itself(world):
    agent = world.agent()
    for _ in range(3):
        world.submit()
    wires = world.poll(agent, 3)
    world.ack(agent, *wires[1:])
    world.heartbeat(agent, running=[{"jobId": wires[2]["jobId"], "attempt": 1}])
    assert [world.state(w["jobId"]) for w in wires] == ["dispatched", "accepted", "running"]
    for _ in range(2):
        world.clock.sleep(86_400)
        world.sweep()
    assert world.read(lambda s, _now: s.scalar(select(func.count()).where(Job.finished_at.is_(None)))) == 0


def test_housekeeping_deletes_ended_keys_and_old_notifications(world):
    agent = world.agent()
    world.write(lambda s, now: agents.replace_key(s, now, agent, key=keys.new_agent_key(), key_hash="x", overlap_s=60))
    world.write(lambda s, now: agent_link.notify(s, now, agent, {"type": "slack", "message": "m"}))
    count = lambda kind: world.read(lambda s, _now: s.query(kind).count())  # noqa: E731 - a word of this test
    world.write(sweep.housekeeping)
    assert (count(AgentKey), count(Notification)) == (2, 1)
    world.clock.sleep(sweep.NOTIFICATIONS_KEPT_S + 1)
    world.write(sweep.housekeeping)
    assert (count(AgentKey), count(Notification)) == (1, 0)


def test_the_end_of_a_drain_wakes_its_pool(world):
    agent = world.agent()
    until = world.clock.now() + 10
    world.write(lambda s, _now: agents.block(s, agent, "draining", reason=None, until=until))
    assert not world.read(lambda s, _now: sweep.unblocks(s, until - 1, until - 0.5))
    assert world.read(lambda s, _now: sweep.unblocks(s, until - 1, until))
    assert not world.read(lambda s, _now: sweep.unblocks(s, until, until + 1))
    woken = []
    world.database.after_commit = lambda session: woken.append(session.info["changes"].pools)
    world.write(lambda s, _now: sweep.wake_unblocked(s, until - 1, until))
    assert woken == [{"default"}]


def test_a_refusal_is_not_believed_for_the_time_the_control_plane_was_away(world):
    agent = world.base_agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    refusal = {"jobId": wire["jobId"], "status": "error", "output": None, "error": "duplicate", "exitCode": -1}
    world.report(agent, {**refusal, "durationMs": 0}, features=())
    world.clock.sleep(4 * 3600)
    world.up_since = world.clock.now()
    assert world.sweep() == 0, "the real result may be on its way"
    world.report(agent, result(wire), features=())
    assert world.state(job) == "success"
