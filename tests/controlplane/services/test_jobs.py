import pytest

from controlplane.models.tables import Job
from controlplane.services import jobs, pools
from controlplane.services.errors import ConflictError, InvalidError, NotFoundError
from tests.controlplane.world import result


def test_a_job_without_a_target_goes_to_the_only_pool(world):
    with pytest.raises(InvalidError, match=r"poolId or agentId is missing.*no pool exists"):
        world.submit()
    world.agent("eu")
    assert world.job(world.submit())["poolId"] == "eu"
    world.agent("us")
    with pytest.raises(InvalidError, match="several pools"):
        world.submit()


def test_targets(world):
    agent = world.agent("eu")
    for_agent = world.job(world.submit(agent_id=agent))
    assert (for_agent["agentId"], for_agent["poolId"]) == (agent, None)
    with pytest.raises(InvalidError, match="exclude each other"):
        world.submit(agent_id=agent, pool_id="eu")
    with pytest.raises(InvalidError, match="agentId 'agt_x' does not exist"):
        world.submit(agent_id="agt_x")
    with pytest.raises(InvalidError, match="poolId 'typo' does not exist"):
        world.submit(pool_id="typo")


@pytest.mark.parametrize("action", ["", "script", ".bash", "script.", "a b.c", "ssh.x\n", "a." + "x" * 200, "ä.b"])
def test_bad_actions(world, action):
    world.agent()
    with pytest.raises(InvalidError, match="actionType"):
        world.submit(action)


@pytest.mark.parametrize("connection", ["", "a b", "a\n", "x" * 257, "../x", "ä"])
def test_bad_connections(world, connection):
    world.agent()
    with pytest.raises(InvalidError, match="connectionId"):
        world.submit(connection_id=connection)


@pytest.mark.parametrize(
    ("given", "params", "sent", "limit"),
    [
        (None, {}, {}, 300),
        (60, {}, {"timeout": 60}, 60),
        (60.0, {"timeout": 5}, {"timeout": 60}, 60),
        (None, {"timeout": "90"}, {"timeout": 90}, 90),
        (None, {"timeout": 1}, {"timeout": 1}, 5),
        (None, {"timeout": 99_999}, {"timeout": 99_999}, 3600),
        (None, {"timeout": 7.5}, {"timeout": 7.5}, 7),
        (None, {"headers": None}, {}, 300),
        (None, {"headers": {"a": "b"}}, {"headers": {"a": "b"}}, 300),
    ],
)
def test_parameters_leave_as_base_agents_need_them(world, given, params, sent, limit):
    world.agent()
    row = world.row(Job, world.submit(timeout=given, params=params))
    assert row.params == sent
    assert type(row.params.get("timeout")) is type(sent.get("timeout"))
    assert row.timeout_s == limit


@pytest.mark.parametrize("bad", ["soon", True, [], float("nan"), float("inf"), -1, 0, 1e300, "1e400"])
def test_bad_timeouts_are_named(world, bad):
    world.agent()
    with pytest.raises(InvalidError, match="timeout must be"):
        world.submit(params={"timeout": bad})


@pytest.mark.parametrize("bad", [{"x": float("nan")}, {"x": "\ud800"}, {"\udfff": 1}])
def test_parameters_json_cannot_carry_are_refused(world, bad):
    world.agent()
    with pytest.raises(InvalidError, match="params cannot be sent"):
        world.submit(params=bad)


def test_oversized_parameters_are_refused(world):
    world.agent()
    with pytest.raises(InvalidError, match=r"at most 10,485,760"):
        world.submit(params={"x": "a" * 10_485_760})


def test_the_same_idempotency_key_is_the_same_job(world):
    world.agent()
    first = world.submit(idempotency_key="k")
    assert world.submit(idempotency_key="k") == first
    with pytest.raises(ConflictError, match=first) as caught:
        world.submit(idempotency_key="k", params={"script": "false"})
    assert caught.value.token == "idempotency_key_reused"
    assert world.submit(idempotency_key="other") != first


def test_a_fingerprint_says_nothing_about_credentials(world):
    world.agent()
    ids = [
        world.submit("system.storeCredential", params={"connectionId": "c", "credentials": {"password": word}})
        for word in ("one", "two")
    ]
    assert len({world.row(Job, i).fingerprint for i in ids}) == 1


def test_list_filters_and_pages(world):
    agent = world.agent()
    ids = [world.submit() for _ in range(3)]
    web = world.submit("http.request", connection_id="shop-api")
    world.take(agent)

    def found(**filters):
        known = {"status": [], "agent_id": None, "pool_id": None, "action_type": None, "text": None, "before": None}
        rows = world.read(lambda s, _now: jobs.list_jobs(s, **{**known, "limit": 10, **filters}))
        return [row.id for row in rows]

    assert found() == [web, *reversed(ids)]
    assert found(limit=2) == [web, ids[2]]
    assert found(before=ids[2]) == [ids[1], ids[0]]
    assert found(status=["accepted"]) == [ids[0]]
    assert found(status=["accepted", "pending"]) == found()
    assert found(agent_id=agent) == [ids[0]]
    assert found(pool_id="other") == []
    assert found(action_type="http.request") == found(text="SHOP") == found(text=web[-8:]) == [web]
    assert found(text="%") == []
    with pytest.raises(InvalidError, match="status 'running_late'"):
        found(status=["running_late"])


def cancel(world, job):
    return world.write(lambda s, now: jobs.cancel(s, now, job, "tok_test"))


def retry(world, job):
    return world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))


def test_cancel_before_anybody_took_it(world):
    agent = world.agent()
    pending, dispatched = world.submit(), world.submit(priority=1)
    world.poll(agent)
    for job in (pending, dispatched, pending):
        cancel(world, job)
        assert world.state(job) == "cancelled"
    world.clock.sleep(100)
    world.heartbeat(agent)
    assert world.poll(agent, 5) == []


def test_cancel_after(world):
    agent, base = world.agent("a"), world.base_agent("b")
    accepted, handed = world.submit(agent_id=agent), world.submit(agent_id=base)
    assert world.poll(base, 1, "b")
    world.ack(agent, *world.poll(agent, 1, "a"))
    for job in (accepted, handed):
        with pytest.raises(ConflictError, match="wait for its result") as caught:
            cancel(world, job)
        assert caught.value.token == "cancel_not_supported"
    world.report(agent, result(accepted))
    with pytest.raises(ConflictError, match="already success"):
        cancel(world, accepted)


@pytest.mark.parametrize("how", ["error", "timed_out", "in_doubt", "expired", "cancelled"])
def test_retry_of_everything_but_success(world, how):
    agent = world.agent()
    job = world.submit()
    outcome = None if how == "error" else how
    world.report(agent, result(world.take(agent), "error", outcome=outcome))
    assert world.state(job) == how
    world.clock.sleep(50)
    retry(world, job)
    seen = world.job(job)
    assert (seen["status"], seen["result"], seen["finishedAt"]) == ("pending", None, None)
    (wire,) = world.poll(agent)
    assert wire["attempt"] == 2
    assert len(world.job(job)["attempts"]) == 2


def test_retry_refused(world):
    agent = world.agent()
    job = world.submit()
    with pytest.raises(ConflictError, match="is pending"):
        retry(world, job)
    world.report(agent, result(world.take(agent)))
    with pytest.raises(ConflictError, match="is success"):
        retry(world, job)


def test_a_delivery_cannot_be_repeated_without_its_credentials(world):
    agent = world.agent()
    job = world.submit("system.storeCredential", params={"connectionId": "c", "credentials": {"a": "b"}})
    world.report(agent, result(world.take(agent), "error"))
    with pytest.raises(ConflictError, match="submit a new job") as caught:
        retry(world, job)
    assert caught.value.token == "credentials_wiped"


def test_retry_of_an_expired_job_gets_its_whole_queue_age_again(world):
    world.agent()
    job = world.submit()
    world.clock.sleep(pools.DEFAULT_MAX_QUEUE_AGE_S)
    world.sweep()
    retry(world, job)
    assert world.sweep() == 0
    assert world.state(job) == "pending"


def test_settle_only_in_doubt(world):
    agent = world.agent()
    job = world.submit()
    settle = lambda: world.write(lambda s, now: jobs.settle(s, now, job, status="success", note="seen", by="tok_test"))  # noqa: E731 - a word of this test
    with pytest.raises(ConflictError, match="only one in doubt"):
        settle()
    world.take(agent)
    world.clock.sleep(4000)
    world.sweep()
    settle()
    assert world.state(job) == "success"
    assert world.job(job)["statusReason"] == "Settled by an operator: seen"
    assert world.job(job)["attempts"][0]["end"] == "in_doubt"


def test_unknown_job(world):
    for move in (cancel, retry):
        with pytest.raises(NotFoundError, match="job_x"):
            move(world, "job_x")
