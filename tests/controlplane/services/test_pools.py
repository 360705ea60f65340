import pytest

from controlplane.services import pools
from controlplane.services.errors import InvalidError, NotFoundError


def view(world, pool="default"):
    return world.read(lambda s, now: pools.view(s, pools.get_pool(s, pool), now))


def test_a_pool_exists_by_use(world):
    with pytest.raises(NotFoundError, match="create an agent in it"):
        view(world, "eu")
    world.agent("eu")
    assert view(world, "eu")["agentsTotal"] == 1


def test_figures(world):
    a, b, _never = world.agent(max_concurrent_jobs=3), world.agent(), world.agent()
    world.heartbeat(b, "offline")
    world.heartbeat(_never, components={"redis": "away"})
    first = world.submit()
    world.clock.sleep(10)
    world.submit()
    assert world.poll(a)[0]["jobId"] == first
    found = view(world)
    assert (found["agentsTotal"], found["agentsHealthy"]) == (3, 1)
    assert (found["capacity"], found["free"]) == (3 + 5, 2 + 5)
    assert (found["waiting"], found["oldestWaitSeconds"]) == (1, 0.0)
    world.clock.sleep(4)
    assert view(world)["oldestWaitSeconds"] == pytest.approx(4)
    assert found["settings"] == {"maxQueueAgeSeconds": 86_400, "lostAfterSeconds": 600}


@pytest.mark.parametrize("bad", ["", " ", "a b", "-a", "a/b", "a\n", "ä", "x" * 129])
def test_impossible_ids(world, bad):
    with pytest.raises(InvalidError, match="poolId"):
        world.write(lambda s, now: pools.ensure_pool(s, now, bad))


def test_pages(world):
    for name in ("c", "a", "b"):
        world.write(lambda s, now, name=name: pools.ensure_pool(s, now, name))
    assert [p.id for p in world.read(lambda s, _now: pools.list_pools(s, after="a", limit=5))] == ["b", "c"]
