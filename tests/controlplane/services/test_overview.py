from controlplane.services.lifecycle import STATES
from controlplane.services.overview import overview
from tests.controlplane.world import result


def test_counts(world):
    empty = world.read(overview)
    assert set(empty.jobs) == STATES
    assert sum(empty.jobs.values()) == 0
    assert empty.oldest_wait_s == 0
    agent = world.agent()
    world.heartbeat(world.agent(), "offline")
    for _ in range(3):
        world.submit()
    world.report(agent, result(world.take(agent)))
    world.clock.sleep(5)
    found = world.read(overview)
    assert (found.jobs["success"], found.jobs["pending"]) == (1, 2)
    assert found.agents == {"online": 1, "degraded": 0, "offline": 1}
    assert 5 <= found.oldest_wait_s < 5.1
