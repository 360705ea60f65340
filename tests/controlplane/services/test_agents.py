import pytest

from controlplane.models.tables import Agent, AgentKey
from controlplane.services import agents, fleet
from controlplane.services.errors import ConflictError, NotFoundError
from controlplane.services.keys import new_agent_key
from tests.controlplane.world import result


def view(world, agent):
    return world.read(lambda s, now: agents.view(agents.get(s, agent), fleet.figures(s, [agent], now)[agent], now))


def test_a_new_agent_is_in_the_default_pool_and_never_seen(world):
    agent = world.write(lambda s, now: agents.create(s, now, name="a", key=new_agent_key(), key_hash="x").id)
    seen = view(world, agent)
    assert (seen["poolId"], seen["status"], seen["lastSeenAt"], seen["healthScore"]) == (
        "default",
        "offline",
        None,
        50.0,
    )
    assert not {"hash", "apiKey", "key"} & set(seen)


def test_names_are_unique(world):
    a = world.agent(name="one")
    world.agent(name="two")
    with pytest.raises(ConflictError, match="taken"):
        world.agent(name="one")
    with pytest.raises(ConflictError, match="taken"):
        world.write(lambda s, now: agents.change(s, now, a, {"name": "two"}))
    world.write(lambda s, now: agents.change(s, now, a, {"name": "one"}))


def test_change_sets_only_what_is_given(world):
    agent = world.agent(name="one")
    world.write(lambda s, now: agents.change(s, now, agent, {"description": "d", "tags": ["x"], "pool_id": "eu"}))
    seen = view(world, agent)
    assert (seen["name"], seen["description"], seen["tags"], seen["poolId"]) == ("one", "d", ["x"], "eu")


def test_figures_of_the_last_hour(world):
    agent = world.agent()
    for status in ("success", "success", "error"):
        world.submit()
        world.report(agent, result(world.take(agent), status))
    world.submit()
    world.take(agent)
    seen = view(world, agent)
    assert seen["lastHour"] == {"total": 3, "succeeded": 2}
    assert seen["inFlight"] == 1
    assert seen["health"] == {"heartbeatPoints": 50.0, "successPoints": 33.3}
    world.clock.sleep(3600)
    assert view(world, agent)["lastHour"] == {"total": 0, "succeeded": 0}


def test_a_result_delivered_three_times_is_counted_once(world):
    agent = world.agent()
    world.submit()
    wire = world.take(agent)
    for _ in range(3):
        world.report(agent, result(wire))
    assert view(world, agent)["lastHour"]["total"] == 1


def test_enable_ends_disable_and_drain(world):
    agent = world.agent()
    for how in ("disabled", "draining"):
        world.write(lambda s, _now, how=how: agents.block(s, agent, how, reason="r", until=None))
    assert view(world, agent)["disabled"] == {"reason": "r", "until": None}
    world.write(lambda s, _now: agents.enable(s, agent))
    seen = view(world, agent)
    assert (seen["blocked"], seen["disabled"], seen["draining"]) == (None, None, None)


def test_deleting_gives_pending_jobs_to_the_pool_and_holds_nothing_back(world):
    a, b = world.agent(), world.agent()
    mine, unacknowledged, running = (world.submit(agent_id=a) for _ in range(3))
    world.poll(a, 1)
    counts = world.write(lambda s, now: agents.remove(s, now, a))
    assert counts == {"reassigned": 3, "failed": 0, "inDoubt": 0}
    world.clock.sleep(2)
    assert {j["jobId"] for j in world.poll(b, 5)} == {mine, unacknowledged, running}
    with pytest.raises(NotFoundError):
        view(world, a)
    assert world.read(lambda s, _now: s.query(AgentKey).filter_by(agent_id=a).count()) == 0


def test_deleting_the_last_of_a_pool_fails_its_own_jobs_with_a_reason(world):
    agent = world.agent(name="solo")
    own = world.submit(agent_id=agent)
    pools_job = world.submit(pool_id="default")
    counts = world.write(lambda s, now: agents.remove(s, now, agent))
    assert counts == {"reassigned": 0, "failed": 1, "inDoubt": 0}
    assert world.state(own) == "error"
    assert "solo was deleted" in world.job(own)["statusReason"]
    assert world.state(pools_job) == "pending"


def test_what_a_deleted_agent_may_have_run_is_in_doubt(world):
    a, base = world.agent(name="gone"), world.base_agent()
    accepted = world.submit(agent_id=a)
    world.take(a)
    handed = world.submit(agent_id=base)
    world.poll(base)
    assert world.write(lambda s, now: agents.remove(s, now, a))["inDoubt"] == 1
    assert world.write(lambda s, now: agents.remove(s, now, base))["inDoubt"] == 1
    assert world.state(accepted) == world.state(handed) == "in_doubt"
    assert world.job(accepted)["attempts"][0]["agentName"] == "gone"


def test_list_by_pool_and_page(world):
    ids = sorted(world.agent("a") for _ in range(3))
    world.agent("b")
    found = world.read(lambda s, _now: agents.list_agents(s, pool_id="a", after=ids[0], limit=5))
    assert [row.id for row in found] == ids[1:]
    assert isinstance(found[0], Agent)
