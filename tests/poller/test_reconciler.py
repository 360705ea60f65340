from __future__ import annotations

import pytest

from easyalert.journal import State
from easyalert.runtime import this_process
from poller import reconciler as module
from poller.reconciler import Reconciler
from tests.poller.conftest import new_job

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.1)
    monkeypatch.setattr(module, "_AGAIN_S", 0.05)


async def keys(rig):
    return await rig.parts.dispatch.keys()


async def keys_become(rig, expected):
    for _ in range(500):
        if await keys(rig) == expected:
            return
        await rig.parts.stop.wait(0.01)
    raise AssertionError(f"{await keys(rig)} never became {expected}")


def test_at_the_start_everything_queued_is_put_back(drive, plain_server):
    async def scenario(rig):
        rig.journal.take([new_job("a"), new_job("b"), new_job("c", attempt=1, needs_ack=True)])
        rig.start(Reconciler(rig.parts).run)
        await keys_become(rig, {"a", "b"})  # c has no permit yet

    drive(plain_server, scenario, redis=True)


def test_a_flushed_or_killed_redis_is_filled_again(drive, plain_server):
    async def scenario(rig):
        rig.journal.take([new_job("a"), new_job("b")])
        rig.start(Reconciler(rig.parts).run)
        await keys_become(rig, {"a", "b"})
        rig.home.redis.flush()
        await keys_become(rig, {"a", "b"})
        rig.home.redis.kill()
        await rig.until(lambda: rig.parts.dispatch.failing)
        assert rig.condition.note()["state"].startswith("Redis")
        rig.home.redis.start()
        await keys_become(rig, {"a", "b"})
        await rig.until(lambda: rig.condition.note()["state"] == "ok")

    drive(plain_server, scenario, redis=True)


def test_what_a_worker_has_just_popped_is_not_put_back_at_once(drive, plain_server):
    async def scenario(rig):
        reconciler = Reconciler(rig.parts)
        await reconciler._reconcile()
        rig.journal.take([new_job("a")])  # popped by a worker, fence not yet passed
        await reconciler._reconcile()
        assert await keys(rig) == set()
        rig.journal.start("a", this_process())
        await reconciler._reconcile()
        await reconciler._reconcile()
        assert await keys(rig) == set()

    drive(plain_server, scenario, redis=True)


def test_start_deadlines_end_jobs(drive, plain_server):
    async def scenario(rig):
        rig.journal.take([new_job("a", start_within_s=0.01)])
        rig.start(Reconciler(rig.parts).run)
        await rig.until(lambda: rig.journal.get("a").state is State.EXPIRED)

    drive(plain_server, scenario, redis=True)


def test_while_paused_here_nothing_is_put_back_and_afterwards_at_once(drive, plain_server):
    async def scenario(rig):
        rig.journal.leave_note("pause", {"reason": None})
        rig.journal.take([new_job("a")])
        reconciler = Reconciler(rig.parts)
        for _ in range(3):
            await reconciler._reconcile()
        assert await keys(rig) == set()
        rig.journal.leave_note("pause", None)
        await reconciler._reconcile()
        assert await keys(rig) == {"a"}

    drive(plain_server, scenario, redis=True)
