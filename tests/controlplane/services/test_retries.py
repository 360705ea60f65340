"""Idempotent jobs whose fate on one agent is unknown: to another one of the pool, a bounded number of times."""

import pytest

from controlplane.models.tables import Job
from controlplane.services import agents, jobs
from tests.controlplane.world import EXTENSIONS, result


def give_up(wire, word="in_doubt", **more):
    """What an agent reports that does not know how the job ended, or whose workers die of it."""
    outcome = {"outcome": "in_doubt"} if word == "in_doubt" else {"outcome": "finished", "fault": "job"}
    return result(wire, "error", output=None, error=f"{word}: …", exitCode=-1, **outcome, **more)


def silence(world, *others):
    """Until whoever has a job is lost; the others go on beating."""
    for _ in range(40):
        world.clock.sleep(60)
        for agent in others:
            world.heartbeat(agent)
        world.sweep()


def took(world, *ids):
    """Whoever of these gets the job now, and the hand-out."""
    for agent in ids:
        if found := world.poll(agent):
            assert world.ack(agent, found[0]).refused == []
            return agent, found[0]
    return None, None


def test_a_lost_agents_job_goes_to_another_and_never_back(world):
    a, b = world.agent(), world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    world.take(a)
    silence(world, b)
    found = world.job(job)
    assert (found["status"], found["retries"]) == ("pending", 1)
    assert "may run twice without harm" in found["statusReason"]
    assert [row["action"] for row in world.audited(job)] == ["job.idempotence_set", "job.run_again"]
    world.heartbeat(a)
    assert world.poll(a) == []
    assert world.job(job)["why"]["candidatesTotal"] == 1
    wire = world.take(b)
    assert wire["attempt"] == 2
    world.report(b, result(wire))
    found = world.job(job)
    assert (found["status"], [attempt["end"] for attempt in found["attempts"]]) == ("success", ["in_doubt", "success"])


@pytest.mark.parametrize("word", ["in_doubt", "poison"])
def test_what_an_agent_gives_up_goes_to_another_where_the_agent_says_so(world, word):
    a, b = world.agent(), world.agent()
    job = world.submit(pool_id="default")
    world.clock.sleep(5)
    wire = world.take(a)
    assert world.report(a, give_up(wire, word, repeatable=True))[0].receipt == "accepted"
    assert world.state(job) == "pending"
    assert world.report(a, give_up(wire, word, repeatable=True))[0].receipt == "duplicate"
    assert world.poll(a) == []
    world.report(b, result(world.take(b)))
    assert world.state(job) == "success"


@pytest.mark.parametrize("word", ["in_doubt", "poison"])
def test_it_is_tried_on_three_agents_and_no_more(world, word):
    pool = [world.agent() for _ in range(5)]
    job = world.submit(idempotent=True, pool_id="default")
    tried = []
    for _ in range(3):
        world.clock.sleep(5)
        agent, wire = took(world, *pool)
        tried.append(agent)
        world.report(agent, give_up(wire, word, repeatable=True))
    assert len(set(tried)) == 3
    assert world.state(job) == {"in_doubt": "in_doubt", "poison": "error"}[word]
    assert took(world, *pool) == (None, None)


@pytest.mark.parametrize(
    ("asked", "said"), [({}, {}), ({"idempotent": False}, {"repeatable": True}), ({}, {"repeatable": False})]
)
def test_what_may_not_be_repeated_never_is(world, asked, said):
    a, _ = world.agent(), world.agent()
    job = world.submit(pool_id="default", **asked)
    world.clock.sleep(5)
    world.report(a, give_up(world.take(a), **said))
    assert world.state(job) == "in_doubt"
    lost = world.submit(pool_id="default", **asked)
    world.clock.sleep(5)
    world.take(a)
    silence(world)
    assert world.state(lost) == "in_doubt"


def test_the_lost_agents_declaration_counts_where_the_job_says_nothing(world):
    a = world.agent(repeatable=["connection.test"], name="declares")
    b = world.agent()
    world.clock.sleep(5)
    may, may_not = world.submit("connection.test", pool_id="default"), world.submit("script.bash", pool_id="default")
    world.clock.sleep(5)
    world.ack(a, *world.poll(a, 2))
    silence(world, b)
    assert (world.state(may), world.state(may_not)) == ("pending", "in_doubt")


@pytest.mark.parametrize("why", ["alone", "for one agent", "to be cancelled", "success", "error"])
def test_where_nobody_else_may_have_it_it_ends(world, why):
    a = world.agent(features=(*EXTENSIONS, "cancel"))
    if why != "alone":
        world.agent()
    asked = {"agent_id": a} if why == "for one agent" else {"pool_id": "default"}
    job = world.submit(idempotent=True, **asked)
    world.clock.sleep(5)
    wire = world.take(a)
    if why == "to be cancelled":
        world.write(lambda s, now: jobs.cancel(s, now, job, "tok_7"))
    told = result(wire, why) if why in {"success", "error"} else give_up(wire, repeatable=True)
    world.report(a, told)
    assert world.state(job) == (why if why in {"success", "error"} else "in_doubt")


def test_the_first_agents_result_ends_the_wait_when_it_comes_before_the_second_has_it(world):
    a, b = world.agent(), world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    wire = world.take(a)
    silence(world, b)
    assert world.report(a, result(wire))[0].receipt == "accepted"
    assert world.state(job) == "success"
    assert world.poll(b) == []


def test_once_the_second_has_it_the_first_agents_result_is_only_noted(world):
    a, b = world.agent(), world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    first = world.take(a)
    silence(world, b)
    second = world.take(b)
    assert world.report(a, result(first, output={"n": 1}))[0].reason == "stale_attempt"
    assert world.report(b, result(second, output={"n": 2}))[0].receipt == "accepted"
    found = world.job(job)
    assert (found["status"], found["result"]["output"]) == ("success", {"n": 2})
    assert found["attempts"][0]["result"]["output"] == {"n": 1}


def test_the_lost_agent_gets_no_second_permit(world):
    a, b = world.agent(), world.agent()
    world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    wire = world.take(a)
    silence(world, b)
    assert [r.reason for r in world.ack(a, wire).refused] == ["reassigned"]
    world.take(b)
    assert [r.reason for r in world.ack(a, wire).refused] == ["reassigned"]


def test_one_that_nobody_else_takes_is_in_doubt_and_not_expired(world):
    a = world.agent()
    world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    wire = world.take(a)
    world.report(a, give_up(wire, repeatable=True))
    world.clock.sleep(world.row(Job, job).expires_at - world.clock.now())
    world.sweep()
    assert world.state(job) == "in_doubt"
    assert "may have run" in world.job(job)["statusReason"]
    assert world.report(a, result(wire))[0].receipt == "accepted"


def test_cancelled_while_it_waits_it_says_that_it_may_have_run(world):
    a = world.agent()
    world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    world.report(a, give_up(world.take(a), repeatable=True))
    world.write(lambda s, now: jobs.cancel(s, now, job, "tok_7"))
    assert world.state(job) == "cancelled"
    assert "may have run" in world.job(job)["statusReason"]


def test_a_deleted_agents_job_goes_to_another_too(world):
    a = world.agent()
    world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    world.take(a)
    assert world.write(lambda s, now: agents.remove(s, now, a)) == {"reassigned": 1, "failed": 0, "inDoubt": 0}
    assert world.state(job) == "pending"


def test_a_person_who_retries_it_starts_anew_with_every_agent(world):
    a = world.agent()
    b = world.agent()
    job = world.submit(idempotent=True, pool_id="default")
    world.clock.sleep(5)
    for agent in (a, b):
        world.report(agent, give_up(world.take(agent), repeatable=True))
        world.clock.sleep(5)
    assert world.state(job) == "in_doubt", "there is no third agent"
    world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    assert world.take(a)["attempt"] == 3
