import asyncio
import threading
import time

import pytest

from controlplane.api.runtime import Runtime
from controlplane.services.changes import changes_of
from controlplane.settings import ControlPlaneSettings
from tests.controlplane.world import FakeClock


@pytest.fixture
def runtime(database):
    return Runtime(ControlPlaneSettings(), database, FakeClock())


def test_commits_are_published_in_the_event_loop(runtime):
    async def run():
        heard = asyncio.Queue()
        runtime.attach(asyncio.get_running_loop())
        runtime.listeners.append(lambda changes: heard.put_nowait((changes.pools, threading.current_thread())))
        await runtime.write(lambda session, _now: changes_of(session).pools.add("eu"))
        return await asyncio.wait_for(heard.get(), 5)

    assert asyncio.run(run()) == ({"eu"}, threading.main_thread())


def test_work_gets_the_clocks_time_and_runs_beside_the_loop(runtime):
    async def run():
        return await runtime.read(lambda _s, now: (now, threading.current_thread() is threading.main_thread()))

    assert asyncio.run(run()) == (runtime.clock.now(), False)


def test_slow_hashes_are_few_and_one_at_a_time_per_key(runtime):
    running, most, same = [], [], []

    def work(key):
        running.append(key)
        most.append(len(running))
        same.append(running.count(key))
        time.sleep(0.01)
        running.remove(key)

    async def run():
        await asyncio.gather(*(runtime.hash_once(key, lambda key=key: work(key)) for key in "aabbccdd"))

    asyncio.run(run())
    assert max(most) <= 2
    assert max(same) == 1
    assert runtime._hashing == {}
