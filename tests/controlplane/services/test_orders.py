import pytest

from controlplane.models.tables import Job, OperatorToken
from controlplane.services import agents, fleet, jobs, orders, tokens
from controlplane.services.errors import ConflictError
from easyalert.protocol.messages import AckItem
from tests.controlplane.world import EXTENSIONS, START, result

ALL = (*EXTENSIONS, "cancel", "control")


@pytest.fixture
def agent(world):
    return world.agent(features=ALL, name="web")


@pytest.fixture
def ada(world):
    token, _ = world.write(lambda s, now: tokens.create_token(s, now, name="Ada", scope=tokens.Scope.OPERATOR))
    return token.id


def cancel(world, job, by="tok_gone"):
    return world.write(lambda s, now: jobs.cancel(s, now, job, by))


def told(world, agent, spoken=ALL, poll_interval_s=None):
    return world.read(lambda s, now: orders.for_agent(s, now, agent, spoken, poll_interval_s=poll_interval_s))


def block(world, agent, how, **said):
    world.write(lambda s, _now: agents.block(s, agent, how, reason=said.get("reason"), until=said.get("until")))


def test_a_waiting_job_is_cancelled_at_once_and_says_by_whom_and_when(world, agent, ada):
    job = world.submit()
    cancel(world, job, ada)
    found = world.job(job)
    assert found["status"] == "cancelled"
    assert found["cancelRequested"] == {"by": f"Ada ({ada})", "at": found["finishedAt"]}
    assert f"Ada ({ada})" in found["statusReason"]


@pytest.mark.parametrize("running", [False, True])
def test_the_agent_is_told_until_its_result_is_there(world, agent, ada, running):
    job = world.submit()
    world.take(agent)
    if running:
        world.heartbeat(agent, running=[{"jobId": job, "attempt": 1}])
    assert told(world, agent).cancel_jobs == []
    cancel(world, job, ada)
    assert world.state(job) == ("running" if running else "accepted")
    for _ in range(3):
        assert told(world, agent).cancel_jobs == [AckItem(job_id=job, attempt=1)]
    world.report(agent, result({"jobId": job, "attempt": 1}, "error", outcome="cancelled", exitCode=-1))
    assert told(world, agent).cancel_jobs == []
    found = world.job(job)
    assert found["status"] == "cancelled"
    assert found["statusReason"] == f"Cancelled by Ada ({ada}) while web had it."


def test_a_success_that_was_faster_stays_a_success(world, agent):
    job = world.submit()
    wire = world.take(agent)
    cancel(world, job)
    world.report(agent, result(wire))
    found = world.job(job)
    assert (found["status"], found["cancelRequested"]["by"]) == ("success", "tok_gone")
    with pytest.raises(ConflictError, match="already success"):
        cancel(world, job)


def test_asking_again_keeps_who_was_first(world, agent, ada):
    job = world.submit()
    world.take(agent)
    cancel(world, job, ada)
    world.clock.sleep(5)
    cancel(world, job, "tok_other")
    row = world.row(Job, job)
    assert row.cancel_requested_by == f"Ada ({ada})"
    assert row.cancel_requested_at < world.clock.now() - 4


def test_an_agent_without_the_feature_cannot_be_told(world):
    for features in (EXTENSIONS, ()):
        other = world.agent(features=features)
        job = world.submit(agent_id=other)
        assert world.poll(other)
        if features:
            world.ack(other, (job, 1))
        with pytest.raises(ConflictError, match="wait for its result"):
            cancel(world, job)
        assert world.job(job)["cancelRequested"] is None
        assert told(world, other, features).wire() == {}


def test_another_agents_jobs_are_not_its_orders(world, agent):
    other = world.agent(features=ALL)
    job = world.submit(agent_id=agent)
    world.take(agent)
    cancel(world, job)
    assert told(world, other).cancel_jobs == []


def test_a_retry_begins_without_the_old_request(world, agent):
    job = world.submit()
    cancel(world, job)
    world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    assert world.job(job)["cancelRequested"] is None
    world.take(agent)
    assert told(world, agent).cancel_jobs == []


def test_disabling_and_draining_are_told_with_reason_and_time_left_and_so_is_their_end(world, agent):
    assert told(world, agent).wire() == {
        "cancelJobs": [], "disabled": None, "drain": None, "pollIntervalSeconds": None
    }  # fmt: skip
    block(world, agent, "disabled", reason="audit")
    block(world, agent, "draining", reason="moves", until=START + 60)
    said = told(world, agent, poll_interval_s=20).wire()
    assert said["disabled"] == {"reason": "audit", "until": None, "remainingSeconds": None}
    assert said["drain"]["remainingSeconds"] == pytest.approx(START + 60 - world.clock.now(), abs=0.01)
    assert said["drain"]["until"] == "2027-01-15T08:01:00.000Z"
    assert said["pollIntervalSeconds"] == 20
    world.clock.sleep(60)
    assert told(world, agent).drain is None
    world.write(lambda s, _now: agents.enable(s, agent))
    assert told(world, agent).disabled is None


def test_an_agent_paused_where_it_runs_gets_no_jobs_and_is_not_degraded(world, agent):
    other = world.agent(features=ALL, name="spare")
    world.heartbeat(
        agent, paused={"reason": "disk is replaced", "until": "2027-01-15T09:00:00Z", "remainingSeconds": 60}
    )
    job = world.submit()
    assert world.poll_all({agent: 5, other: 5})[other][0]["jobId"] == job
    view = world.read(lambda s, now: agents.view(agents.get(s, agent), fleet.Figures(), now))
    assert view["status"] == "online"
    assert view["paused"] == {"reason": "disk is replaced", "until": "2027-01-15T09:00:00Z"}
    assert view["blocked"] == "paused where it runs until 2027-01-15T09:00:00Z (disk is replaced)"
    waiting = world.submit(agent_id=agent)
    assert "paused where it runs" in world.job(waiting)["why"]["sentence"]
    assert world.poll(agent) == []
    world.clock.sleep(59)
    assert world.poll(agent) == []
    world.clock.sleep(1)
    assert [wire["jobId"] for wire in world.poll(agent)] == [waiting]


def test_a_pause_without_end_is_over_with_the_heartbeat_that_says_nothing_of_it(world, agent):
    world.heartbeat(agent, paused={"reason": None})
    job = world.submit()
    assert world.poll(agent) == []
    world.heartbeat(agent)
    assert [wire["jobId"] for wire in world.poll(agent)] == [job]


def test_tokens_that_are_gone_are_named_by_their_id(world, agent):
    job = world.submit()
    assert world.read(lambda s, _now: s.get(OperatorToken, "tok_gone")) is None
    cancel(world, job)
    assert world.job(job)["cancelRequested"]["by"] == "tok_gone"
