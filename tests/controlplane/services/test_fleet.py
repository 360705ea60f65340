from controlplane.services import fleet
from tests.controlplane.world import result


def candidates(world, slots, pool="default"):
    found = world.read(lambda s, now: fleet.pool_candidates(s, pool, slots, now))
    return {agent_id: candidate for agent_id, (_, candidate) in found.items()}


def test_a_polling_agents_own_word_on_its_slots_wins(world):
    agent = world.agent(max_concurrent_jobs=3)
    world.submit()
    world.take(agent)
    assert candidates(world, {})[agent].free == 2
    assert candidates(world, {agent: 3})[agent].free == 3
    assert candidates(world, {agent: 3})[agent].polling


def test_a_base_agent_counts_one_at_a_time_within_the_default_capacity(world):
    agent = world.base_agent()
    assert candidates(world, {})[agent].free == fleet.BASE_CAPACITY
    assert candidates(world, {agent: 9})[agent].free == 1


def test_counts_end_with_the_hour_and_leave_out_what_says_nothing(world):
    agent = world.agent()
    for status, outcome in (("success", None), ("error", None), ("error", "timed_out"), ("error", "in_doubt")):
        world.submit()
        world.report(agent, result(world.take(agent), status, outcome=outcome))
    for outcome in ("cancelled", "expired"):
        world.submit()
        world.report(agent, result(world.take(agent), "error", outcome=outcome))
    counts = world.read(lambda s, now: fleet.figures(s, [agent, "agt_none"], now))
    assert counts[agent] == fleet.Figures(total=4, succeeded=1, in_flight=0)
    assert counts["agt_none"] == fleet.Figures()


def test_only_the_pools_own_agents_are_candidates(world):
    a = world.agent("a")
    world.agent("b")
    assert set(candidates(world, {}, "a")) == {a}
