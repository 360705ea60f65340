from __future__ import annotations

import pickle
import zlib

import pytest
from redis.exceptions import RedisError

from easyalert.queues import agent_queue, enqueue
from workers import entries as module
from workers.entries import Entries, shown_job

pytestmark = pytest.mark.system

OURS = ("workers.jobs.run_job", None, ["job_2"], {})


@pytest.fixture
def client(redis_server):
    with redis_server.client() as client:
        yield client


@pytest.fixture
def queue(client):
    return agent_queue(client)


@pytest.fixture
def waiting():
    """Keys of rows in the journal."""
    return set()


@pytest.fixture
def entries(queue, waiting):
    return Entries(queue, lambda: waiting)


def test_only_our_function_with_its_own_id_is_taken(entries, queue, client, caplog):
    enqueue(queue, [("job_1", "script.bash x", 5)])
    job = entries.fetch("job_1")
    assert (job.id, job.description, job.origin) == ("job_1", "script.bash x", "easyalert")
    assert job.enqueued_at == queue.fetch_job("job_1").enqueued_at
    for data in (
        ("os.system", None, ["job_2"], {}),
        ("workers.jobs.run_job", "instance", ["job_2"], {}),
        ("workers.jobs.run_job", None, ["job_1"], {}),
        ("workers.jobs.run_job", None, ["job_2"], {"x": 1}),
        ("workers.jobs.run_job", None, ["job_2", "job_2"], {}),
        ("workers.jobs.run_job", None, 7, {}),
        OURS[:3],
        "text",
    ):
        client.hset("rq:job:job_2", "data", queue.serializer.dumps(data))
        assert entries.fetch("job_2") is None
        assert not client.exists("rq:job:job_2")
    assert caplog.text.count("dropped") == 8
    client.hset("rq:job:job_2", "data", queue.serializer.dumps(OURS))
    assert entries.fetch("job_2").id == "job_2"


def test_nothing_but_what_people_see_is_taken_from_a_record(entries, queue, client):
    """RQ's own reading takes all of it over, and its worker would call, enqueue and unpack."""
    enqueue(queue, [("job_1", "x", 5)])
    forged = {
        "meta": pickle.dumps(print), "result": pickle.dumps(print), "origin": "other", "group_id": "g",
        "success_callback_name": "os.abort", "failure_callback_name": "os.abort", "stopped_callback_name": "os.abort",
        "webhooks": '[{"url": "http://127.0.0.1:1/"}]', "dependency_ids": '["x"]', "repeats_left": 3, "repeat_intervals": "[0]",
        "retries_left": 3, "result_ttl": -1, "failure_ttl": "x", "created_at": b"\xff", "enqueued_at": "yesterday",
        "description": b"\xff!", "status": "nonsense", "timeout": "x", "serializer": "os.system",
    }  # fmt: skip
    client.hset("rq:job:job_1", mapping=forged)
    job = entries.fetch("job_1")
    assert (job.origin, job.group_id, job.meta, job._result, job.webhooks) == ("easyalert", None, {}, None, [])
    assert (job.dependency_ids, job.repeats_left, job.retries_left) == ([], None, None)
    assert (job.success_callback, job.failure_callback, job.stopped_callback) == (None, None, None)
    assert job.result_ttl == job.failure_ttl == module.RESULT_TTL_S
    assert job.description == "\ufffd!"


@pytest.mark.parametrize(
    "data", [zlib.compress(bytes(3_000_000), 9), b"x" * 5000, zlib.compress(b"x" * 5000), b"\xff", b"", b"."]
)
def test_a_record_that_would_unpack_to_much_is_dropped_unread(entries, client, data):
    client.hset("rq:job:job_2", "data", data)
    assert entries.fetch("job_2") is None
    assert not client.exists("rq:job:job_2")


@pytest.mark.parametrize("field", ["description", "created_at", "enqueued_at"])
def test_so_is_one_with_a_huge_field(entries, queue, client, field):
    client.hset("rq:job:job_2", mapping={"data": queue.serializer.dumps(OURS), field: b"x" * 10_000_000})
    assert entries.fetch("job_2") is None


@pytest.mark.parametrize("command", ["set", "rpush", "sadd"])
def test_so_is_a_record_of_another_type(entries, client, command):
    getattr(client, command)("rq:job:job_2", "x")
    assert entries.fetch("job_2") is None
    assert not client.exists("rq:job:job_2")


def test_a_long_queue_is_sifted_at_once_and_keeps_what_is_ours_in_its_order(entries, queue, client, waiting, caplog):
    ours = [f"job_{number}" for number in range(5)]
    enqueue(queue, [(key, "x", 5) for key in ours])
    waiting.update(ours)
    junk = [f"junk_{number}" for number in range(2500)]
    client.rpush(queue.key, *junk, b"\xff\xfe", "../../etc/passwd", "job_late")
    waiting.add("job_late")
    client.hset("rq:job:junk_7", "data", "x")
    entries.drop("foreign", "test")
    assert queue.get_job_ids() == [*ours, "job_late"]
    assert not client.exists("rq:job:junk_7")
    assert "dropped 2502 more entries" in caplog.text
    assert len(caplog.records) == 2


def test_a_short_queue_is_left_alone(entries, queue, client):
    client.rpush(queue.key, *(f"junk_{number}" for number in range(module.SIFT_FROM - 1)))
    entries.drop("foreign", "test")
    assert client.llen(queue.key) == module.SIFT_FROM - 1


def test_a_job_is_shown_whatever_its_record_says(queue, client):
    assert shown_job(queue, "job_1") is None
    enqueue(queue, [("job_1", "what it does", 5)])
    assert shown_job(queue, "job_1").description == "what it does"
    client.hset("rq:job:job_1", "data", bytes(5_000_000))
    assert shown_job(queue, "job_1").id == "job_1"


def test_a_job_is_not_dropped_because_redis_is_away(entries, queue, redis_server):
    enqueue(queue, [("job_1", "x", 5)])
    redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        entries.fetch("job_1")
