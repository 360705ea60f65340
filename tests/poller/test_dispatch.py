from __future__ import annotations

import pytest

from easyalert.errors import QueueError
from easyalert.queues import agent_queue, connect
from tests.poller.conftest import new_job

pytestmark = pytest.mark.system


def test_keys_go_in_with_a_readable_description_and_nothing_else(drive, plain_server):
    async def scenario(rig):
        await rig.parts.dispatch.put([new_job("job_1", sealed=b"s3cret"), new_job("job_2", attempt=2)])
        assert await rig.parts.dispatch.keys() == {"job_1", "job_2--2"}
        with connect(rig.parts.settings) as connection:
            queue = agent_queue(connection)
            assert {job.description for job in queue.get_jobs()} == {"script.bash job_1", "script.bash job_2"}
            everything = b"".join(
                value for key in connection.keys("rq:job:*") for value in connection.hgetall(key).values()
            )
            assert b"s3cret" not in everything

    drive(plain_server, scenario, redis=True)


def test_doubles_are_harmless(drive, plain_server):
    async def scenario(rig):
        for _ in range(3):
            await rig.parts.dispatch.put([new_job("job_1")])
        assert await rig.parts.dispatch.keys() == {"job_1"}

    drive(plain_server, scenario, redis=True)


def test_redis_away_and_back(drive, plain_server):
    async def scenario(rig):
        redis = rig.home.redis
        await rig.parts.dispatch.put([new_job("job_1")])
        assert rig.parts.dispatch.failing is None
        redis.kill()
        with pytest.raises(QueueError):
            await rig.parts.dispatch.put([new_job("job_2")])
        assert rig.parts.dispatch.failing is not None
        redis.start()
        await rig.parts.dispatch.put([new_job("job_3")])
        assert await rig.parts.dispatch.keys() == {"job_3"}
        assert rig.parts.dispatch.failing is None

    drive(plain_server, scenario, redis=True)


def test_nothing_to_put_asks_nobody(drive, plain_server):
    async def scenario(rig):
        await rig.parts.dispatch.put([])

    drive(plain_server, scenario)
