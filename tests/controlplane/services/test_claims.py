import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from controlplane.models.at_rest import AtRest
from controlplane.models.tables import Attempt, Job
from controlplane.services import agents, claims, tokens
from controlplane.services.lifecycle import LEASE_S
from easyalert.protocol.messages import JobEnvelope
from easyalert.sealing import PrivateKey
from poller.intake import read_job


def test_an_extended_agent_gets_attempt_and_lease(world):
    agent = world.agent()
    job = world.submit(connection_id="conn-1", params={"script": "true", "timeout": 30}, idempotent=True)
    (wire,) = world.poll(agent)
    assert wire == {
        "jobId": job,
        "actionType": "script.bash",
        "connectionId": "conn-1",
        "params": {"script": "true", "timeout": 30},
        "attempt": 1,
        "leaseSeconds": LEASE_S,
        "startWithinSeconds": 900.0,
        "idempotent": True,
        "requestedBy": "tok_test",
    }
    assert JobEnvelope.model_validate(wire).wire() == wire


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Ada's laptop", "Ada's laptop ({id})"),
        ("two\nlines \x1b[2J\u202e", "two?lines ?[2J? ({id})"),
        ("é" * 128, "é" * 128 + " ({id})"),
        ("n" * 300, "…" + "n" * 166 + " ({id})"),
    ],
)
def test_an_extended_agent_is_told_whose_token_the_job_came_with(world, name, said):
    agent = world.agent()
    token = world.write(lambda s, now: tokens.create_token(s, now, name=name, scope=tokens.Scope.OPERATOR)[0].id)
    world.submit(created_by=token, params={"requestedBy": "somebody else"})
    (wire,) = world.poll(agent)
    assert wire["requestedBy"] == said.format(id=token)
    key = PrivateKey(X25519PrivateKey.generate()).public
    assert read_job(wire, key=key, extended=True, ack=True).requested_by == wire["requestedBy"]
    world.clock.sleep(1.5)
    assert world.poll(agent)[0]["requestedBy"] == wire["requestedBy"], "the same offer again"


def test_a_base_agent_gets_the_four_base_fields_only(world):
    agent = world.base_agent()
    job = world.submit()
    assert world.poll(agent) == [
        {"jobId": job, "actionType": "script.bash", "connectionId": None, "params": {"script": "true"}}
    ]


def test_an_extended_agent_gets_at_most_its_slots(world):
    agent = world.agent()
    jobs = [world.submit() for _ in range(5)]
    assert [j["jobId"] for j in world.poll(agent, 3)] == jobs[:3]
    assert [j["jobId"] for j in world.poll(agent, 3)] == jobs[3:]


def test_a_base_agent_gets_one_job_per_poll_up_to_its_assumed_capacity(world):
    agent = world.base_agent()
    for _ in range(7):
        world.submit()
    assert [len(world.poll(agent, 1)) for _ in range(7)] == [1, 1, 1, 1, 1, 0, 0]


def test_order_is_priority_then_age(world):
    agent = world.agent()
    names = {}
    for label, priority in (("low", -5), ("first", 0), ("second", 0), ("high", 9)):
        names[world.submit(priority=priority)] = label
        world.clock.sleep(0.01)
    assert [names[j["jobId"]] for j in world.poll(agent, 10)] == ["high", "first", "second", "low"]


def test_other_pools_and_other_agents_jobs_are_not_taken(world):
    a, b = world.agent("pool-a"), world.agent("pool-b")
    for_b = world.submit(pool_id="pool-b")
    for_a = world.submit(agent_id=a)
    assert [j["jobId"] for j in world.poll(a, 5, "pool-a")] == [for_a]
    assert [j["jobId"] for j in world.poll(b, 5, "pool-b")] == [for_b]


@pytest.mark.parametrize("how", ["disabled", "draining"])
def test_disabled_and_draining_agents_get_no_new_jobs(world, how):
    agent = world.agent()
    world.write(lambda s, _now: agents.block(s, agent, how, reason="patch day", until=world.clock.now() + 100))
    job = world.submit()
    assert world.poll(agent) == []
    assert f"{how} until" in world.job(job)["why"]["sentence"]
    world.clock.sleep(50)
    world.heartbeat(agent)
    assert world.poll(agent) == []
    world.clock.sleep(50)
    assert len(world.poll(agent)) == 1


def test_an_agent_without_heartbeat_for_90_s_gets_nothing(world):
    agent = world.agent()
    world.submit()
    world.clock.sleep(90)
    assert world.poll(agent) == []
    world.heartbeat(agent)
    assert len(world.poll(agent)) == 1


def test_jobs_nobody_polling_can_do_do_not_hide_the_others(world):
    agent = world.agent(capabilities=["http"])
    for _ in range(claims._BATCH + 5):
        world.submit()
    web = world.submit("http.request")
    assert [j["jobId"] for j in world.poll(agent)] == [web]


def test_the_same_agent_gets_an_unacknowledged_job_again_with_the_same_attempt(world):
    agent = world.agent()
    world.submit()
    (first,) = world.poll(agent)
    assert world.poll(agent) == [], "its first answer may still be on the way"
    world.clock.sleep(claims.REOFFER_AFTER_S)
    (again,) = world.poll(agent)
    assert (again["jobId"], again["attempt"]) == (first["jobId"], 1)
    assert again["leaseSeconds"] == pytest.approx(LEASE_S - 1)


def test_a_restarted_agent_is_offered_its_job_again_at_once(world):
    agent = world.agent()
    world.submit()
    (first,) = world.poll(agent)
    world.register(agent, features=["longPoll", "ack", "receipts"])
    assert [j["attempt"] for j in world.poll(agent)] == [first["attempt"]]


def test_the_pass_says_when_to_offer_again(world):
    agent = world.agent()
    world.submit()
    world.poll(agent)
    handed = world.write(lambda s, now: claims.hand_out(s, now, "default", {agent: 1}))
    assert handed.retry_at == world.clock.now() + claims.REOFFER_AFTER_S


def test_another_agent_does_not_get_a_leased_job(world):
    a, b = world.agent(), world.agent()
    world.submit()
    assert len(world.poll_all({a: 1, b: 1})) == 1
    world.clock.sleep(30)
    world.heartbeat(a)
    world.heartbeat(b)
    owner = world.read(lambda s, _now: s.query(Attempt).one().agent_id)
    assert world.poll(b if owner == a else a) == []


def test_a_base_agent_is_never_given_a_job_twice(world):
    agent = world.base_agent()
    world.submit()
    assert len(world.poll(agent)) == 1
    world.clock.sleep(30)
    assert world.poll(agent) == []


def test_has_work(world):
    agent = world.agent()
    later = claims.HandOut()
    asks = lambda: world.read(lambda s, now: claims.has_work(s, now, "default", [agent], later))  # noqa: E731 - a word of this test
    assert not asks()
    assert later.retry_at is None
    world.submit()
    assert asks()
    (offer,) = world.poll(agent)
    assert not asks(), "an offer just made needs no pass, and no write lock, until it may be made again"
    assert later.retry_at == world.clock.now() + claims.REOFFER_AFTER_S
    world.clock.sleep(claims.REOFFER_AFTER_S)
    assert asks()
    assert [again["attempt"] for again in world.poll(agent)] == [offer["attempt"]] == [1]


def test_a_base_hand_out_nobody_saw_goes_back(world):
    agent = world.base_agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    world.write(lambda s, now: claims.take_back(s, now, agent, [wire["jobId"], "job_unknown"]))
    assert world.state(job) == "pending"
    assert [j["jobId"] for j in world.poll(agent)] == [f"{job}-2"], "a new attempt has a new id"


def test_credentials_nobody_saw_are_not_sent_wiped(world):
    agent = world.base_agent()
    job = world.submit(
        "system.storeCredential", params={"connectionId": "c", "credentials": {"password": "s3cret-canary"}}
    )
    (wire,) = world.poll(agent)
    assert wire["params"]["credentials"] == {"password": "s3cret-canary"}
    world.write(lambda s, now: claims.take_back(s, now, agent, [wire["jobId"]]))
    assert world.state(job) == "error"
    assert "deliver them again" in world.job(job)["statusReason"]


def test_many_agents_claiming_at_once_get_each_job_exactly_once(world):
    fleet = [world.agent() for _ in range(8)]
    submitted = {world.submit() for _ in range(120)}
    claimed, start = [], threading.Barrier(len(fleet))

    def claim(agent):
        start.wait()
        while jobs := world.poll_all({agent: 3}).get(agent):
            claimed.extend(j["jobId"] for j in jobs)

    # Nobody else is polling in each one's view, so only the claim itself keeps them apart.
    world.clock.sleep(10)
    for agent in fleet:
        world.heartbeat(agent)
    threads = [threading.Thread(target=claim, args=(agent,)) for agent in fleet]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 120
    assert set(claimed) == submitted
    assert world.read(lambda s, _now: s.query(Attempt).count()) == 120
    assert world.read(lambda s, _now: s.query(Job).filter(Job.attempt != 1).count()) == 0


def _delivery(world):
    params = {"connectionId": "c", "credentials": {"password": "s3cret-canary"}}
    return world.submit("system.storeCredential", params=params)


def test_credentials_wait_sealed_and_never_touch_a_file_in_clear(world, database):
    agent, job = world.agent(), _delivery(world)
    folder = database.file.parent
    assert all(b"s3cret-canary" not in file.read_bytes() for file in folder.iterdir() if file.is_file())
    for again in (False, True):
        (wire,) = world.poll(agent)
        assert wire["params"] == {"connectionId": "c", "credentials": {"password": "s3cret-canary"}}, again
        world.clock.sleep(claims.REOFFER_AFTER_S)
    assert all(b"s3cret-canary" not in file.read_bytes() for file in folder.iterdir() if file.is_file())
    assert world.job(job)["params"]["credentials"] == "[redacted]"


@pytest.mark.parametrize("offered", [False, True])
def test_credentials_whose_key_is_gone_end_their_job_and_hold_up_no_other(world, database, offered):
    agent, job = world.agent(), _delivery(world)
    if offered:
        world.poll(agent)
        world.clock.sleep(claims.REOFFER_AFTER_S)
    database._at_rest = AtRest(bytes(32))
    other = world.submit()
    # the one slot asked for may have been meant for it; ending it marks the pool, and the next pass goes on
    given = world.poll(agent) or world.poll(agent)
    assert [wire["jobId"] for wire in given] == [other]
    assert world.state(job) == "error"
    assert "secret.key" in world.job(job)["statusReason"]
