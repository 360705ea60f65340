from __future__ import annotations

import threading
import time

import pytest
from redis.exceptions import RedisError
from rq import Worker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry

from easyalert.queues import RESULT_TTL_S, agent_queue, enqueue
from tests.support.waiting import eventually
from workers import worker as module
from workers.jobs import Ended
from workers.lifeline import Lifeline
from workers.worker import AgentWorker, Withdrawn, forget_names, pid_of, registered_names, show_end, worker_name

pytestmark = pytest.mark.system

GOOD = Ended(ok=True, word="success", exit_code=0, duration_ms=1500)
BAD = Ended(ok=False, word="timed_out", exit_code=-1, duration_ms=500)


@pytest.fixture
def client(redis_server):
    with redis_server.client() as client:
        yield client


@pytest.fixture
def queue(client):
    return agent_queue(client)


@pytest.fixture
def worker(queue):
    return AgentWorker(queue, worker_name("edge 1", 3, 4711))


@pytest.fixture
def lifeline():
    here, there = Lifeline.pair()
    yield here, there
    here.close()
    there.close()


def job(queue, key="job_1"):
    enqueue(queue, [(key, f"script.bash {key}", 60)])
    queue.connection.lpop(queue.key)
    return Job.fetch(key, connection=queue.connection, serializer=queue.serializer)


def test_names_are_readable_and_tell_the_process():
    assert worker_name("edge fra/01", 3, 4711) == "edge-fra-01.3.4711"
    assert pid_of("edge-fra-01.3.4711") == 4711
    assert pid_of("somebody") is None
    assert pid_of("x.y") is None


def test_making_one_needs_no_redis(queue, redis_server):
    redis_server.kill()
    AgentWorker(queue, "edge.1.2")


def test_a_published_worker_is_seen_by_stock_rq(worker, client, queue):
    worker.publish()
    (seen,) = Worker.all(connection=client)
    assert (seen.name, seen.get_state(), seen.queue_names()) == ("edge-1.3.4711", "idle", ["easyalert"])
    assert seen.last_heartbeat is not None
    assert 0 < client.ttl(worker.key) <= module.WORKER_TTL_S
    assert list(registered_names(queue)) == ["edge-1.3.4711"]


def test_publishing_again_repairs_what_somebody_has_emptied(worker, client):
    worker.publish()
    client.flushall()
    worker.publish(busy=True)
    assert [w.get_state() for w in Worker.all(connection=client)] == ["busy"]


def test_a_running_job_is_shown_with_its_worker(worker, queue, client):
    worker.publish()
    running = job(queue)
    worker.begin(running, 60)
    (seen,) = Worker.all(connection=client)
    assert seen.get_state() == "busy"
    assert seen.get_current_job_id() == "job_1"
    assert running.get_status() == "started"
    assert client.ttl(running.key) == -1
    assert client.ttl(worker.key) >= 60


@pytest.mark.parametrize(
    ("ended", "status", "registry"), [(GOOD, "finished", FinishedJobRegistry), (BAD, "failed", FailedJobRegistry)]
)
def test_an_ended_job_is_shown_for_a_while(worker, queue, client, ended, status, registry):
    worker.publish()
    running = job(queue)
    worker.end(running, ended, worker.begin(running, 60))
    seen = Job.fetch("job_1", connection=client, serializer=queue.serializer)
    assert seen.get_status() == status
    assert 0 < client.ttl(seen.key) <= RESULT_TTL_S
    assert registry(queue=queue).get_job_ids() == ["job_1"]
    assert StartedJobRegistry(queue=queue).get_job_ids() == []
    (shown,) = Worker.all(connection=client)
    assert (shown.get_state(), shown.get_current_job_id()) == ("idle", None)
    assert (shown.successful_job_count, shown.failed_job_count) == ((1, 0) if ended.ok else (0, 1))
    assert shown.total_working_time == ended.duration_ms / 1000
    for key in client.scan_iter("rq:*"):
        if b"job_1" in key:
            assert client.ttl(key) > 0, key


def test_a_failed_job_says_where_to_look_and_quotes_nothing(worker, queue, client):
    running = job(queue)
    worker.end(running, BAD, worker.begin(running, 60))
    result = Job.fetch("job_1", connection=client, serializer=queue.serializer).latest_result()
    assert result.exc_string == "timed_out, exit code -1; see: easyalert-agent jobs job_1"


def test_the_end_of_a_job_nobody_has_begun_is_shown_too(worker, queue):
    running = job(queue)
    worker.end(running, GOOD)
    assert running.get_status() == "finished"


def test_a_buried_worker_is_gone_with_all_it_ran(worker, queue, client):
    worker.publish()
    worker.begin(job(queue), 60)
    AgentWorker(queue, worker.name).bury()
    assert Worker.count(queue=queue) == 0
    assert not client.exists(worker.key)
    assert StartedJobRegistry(queue=queue).get_job_ids() == []


def test_the_job_of_a_dead_worker_can_be_shown_as_failed(worker, queue):
    running = job(queue)
    worker.begin(running, 60)
    show_end(queue, "job_1", BAD)
    assert running.get_status() == "failed"
    show_end(queue, "missing", BAD)


def test_popping_waits_for_a_key(worker, queue, lifeline):
    timer = threading.Timer(0.05, lambda: enqueue(queue, [("job_1", "x", 5)]))
    timer.start()
    assert worker.pop(lifeline[0].fileno()) == "job_1"
    timer.join()


def test_popping_ends_without_a_key_after_a_while(worker, lifeline, monkeypatch):
    monkeypatch.setattr(module, "POP_S", 1)
    assert worker.pop(lifeline[0].fileno()) is None


def test_a_word_on_the_lifeline_ends_the_wait_and_costs_no_key(worker, queue, lifeline, client):
    lifeline[1].say("stop")
    began = time.monotonic()
    with pytest.raises(Withdrawn):
        worker.pop(lifeline[0].fileno())
    assert time.monotonic() - began < module.POP_S / 2
    eventually(lambda: client.info("clients")["blocked_clients"] == 0, what="the pop being withdrawn")
    enqueue(queue, [("job_1", "x", 5)])
    lifeline[0].hear()
    assert worker.pop(lifeline[0].fileno()) == "job_1"


def test_popping_says_when_redis_is_away(worker, lifeline, redis_server):
    redis_server.kill()
    with pytest.raises((RedisError, OSError)):
        worker.pop(lifeline[0].fileno())


def test_popping_says_when_redis_goes_away_meanwhile(worker, lifeline, redis_server):
    timer = threading.Timer(0.05, redis_server.kill)
    timer.start()
    with pytest.raises((RedisError, OSError)):
        worker.pop(lifeline[0].fileno())
    timer.join()


def test_what_others_have_put_among_the_workers_hurts_nobody(worker, queue, client):
    client.sadd("rq:workers:easyalert", b"\xff\xfe", "rq:worker:x." + "9" * 5000, "rq:worker:edge.1.4711", "other")
    assert set(registered_names(queue)) == {"x." + "9" * 5000, "edge.1.4711"}
    assert pid_of("x." + "9" * 5000) is None
    assert pid_of("x.٣") is None
    client.sadd(worker.executions_key, b"\xff", "no-colon", "a:b:c")
    worker.publish()
    worker.bury()
    assert not client.exists(worker.executions_key)
    client.set(worker.executions_key, "text")
    worker.bury()
    assert not client.exists(worker.executions_key)
    forget_names(queue)
    assert registered_names(queue) == []


def test_keys_of_the_wrong_type_are_removed_and_named_and_others_left(worker, queue, client, caplog):
    enqueue(queue, [("job_1", "x", 5)])
    wrong = [worker.key, "rq:results:job_1", "rq:finished:easyalert", "rq:workers"]
    for key in wrong:
        client.rpush(key, "x")
    assert worker.mend("job_1")
    assert not client.exists(*wrong)
    assert queue.get_job_ids() == ["job_1"]
    assert all(key in caplog.text for key in wrong)
    assert not worker.mend("job_1")
