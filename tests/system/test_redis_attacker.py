"""Somebody holds the agent's own Redis password: nothing he writes runs, nothing runs twice, and jobs go on."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pickle
import socket
import stat
import threading
import zlib
from datetime import UTC, datetime

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from rq.command import send_command

from easyalert.journal import Journal
from easyalert.queues import AGENT_USER, QUEUE, agent_queue
from tests.support.stack import running_stack
from tests.support.waiting import eventually
from workers.entries import SIFT_FROM
from workers.worker import registered_names

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

JUNK = 100_000


class Runs:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


@pytest.fixture(scope="module")
def stack():
    with running_stack(MAX_CONCURRENT_JOBS="2", POLL_INTERVAL="1") as running:
        eventually(lambda: running.control_plane.agent(running.agent_id)["status"] == "online", within=40)
        yield running


@pytest.fixture
def redis(stack):
    """With all the rights that the agent itself has."""
    run = stack.agent.state_dir / "run"
    password = (run / "redis_password").read_text()
    with Redis(unix_socket_path=str(run / "redis.sock"), username=AGENT_USER, password=password) as client:
        yield client


@pytest.fixture
def mark(tmp_path):
    """Made by whatever of the attacks is obeyed."""
    return tmp_path / "it-ran"


@pytest.fixture
def unharmed(stack, mark):
    """After the test: nothing was run, no process has died, and the next job is as good as ever."""
    before, length = stack.agent.programs(), len(stack.agent.log.read_text())
    yield
    plane = stack.control_plane
    job = plane.wait(plane.submit("script.bash", {"script": "echo as ever"}), timeout=60)
    assert job["result"]["output"]["stdout"] == "as ever\n"
    assert not mark.exists()
    assert stack.agent.programs() == before
    log = stack.agent.log.read_text()[length:]
    for word in (" died", "Traceback", "unexpected", "takes over"):
        assert word not in log, log
    with stack.agent.admin as admin:
        status = admin.get("/status").json()["data"]
    assert status["redis"]["state"] == "ok", status


@pytest.fixture
def busy(stack, tmp_path):
    """A job that runs until it is let go, and a function that lets it."""
    plane, runs, go = stack.control_plane, tmp_path / "runs", tmp_path / "go"
    script = f"echo running >> {runs}; until [ -e {go} ]; do sleep 0.02; done"
    running = plane.submit("script.bash", {"script": script})
    eventually(runs.exists, within=60, what="the first job running")

    def let_go():
        go.touch()
        assert plane.wait(running, timeout=60)["status"] == "success"
        return runs.read_text().split()

    yield running, let_go
    go.touch()


@contextlib.contextmanager
def standing_still(stack):
    """No process of the pool does anything meanwhile, so that what is queued stays queued."""
    pool = psutil.Process(stack.agent.programs()["workers"])
    processes = [pool, *(child for child in pool.children() if child.name() != "bash")]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def queued(redis):
    """The one key that waits in Redis."""
    return eventually(lambda: redis.lrange(f"rq:queue:{QUEUE}", 0, -1), within=60, what="a job in the queue")[
        0
    ].decode()


def keys_of(stack, job):
    """The row keys of a job in the agent's journal."""
    with Journal(stack.agent.state_dir / "journal.sqlite3") as journal:
        return [row.key for row in journal.latest(1000) if row.job_id == job]


def hostile_fields(mark, port):
    bomb = pickle.dumps(Runs(mark))
    return {
        "meta": bomb, "result": bomb, "exc_info": zlib.compress(bomb), "origin": "other", "group_id": "everybody",
        "success_callback_name": "os.abort", "failure_callback_name": "os.abort", "stopped_callback_name": "os.abort",
        "success_callback_timeout": 60, "failure_callback_timeout": 60, "stopped_callback_timeout": 60,
        "webhooks": json.dumps([{"url": f"http://127.0.0.1:{port}/", "statuses": ["finished", "failed"]}]),
        "repeats_left": 5, "repeat_intervals": "[0]", "retries_left": 5, "retry_intervals": "[0]",
        "dependency_ids": "[]", "serializer": "pickle", "ttl": 1, "result_ttl": -1, "status": "queued",
    }  # fmt: skip


@contextlib.contextmanager
def listener():
    """A port, and how often it was called."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        calls = []

        def take():
            with contextlib.suppress(OSError):
                while True:
                    calls.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1], calls


def test_nobody_but_the_account_itself_can_reach_the_server_or_its_files(stack, redis):
    state = stack.agent.state_dir
    assert stat.S_IMODE((state / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "run" / "redis.sock").stat().st_mode) == 0o700
    folders = [path for path in (state / "redis", *(state / "redis").rglob("*")) if path.is_dir()]
    files = [path for path in (state / "redis").rglob("*") if path.is_file()]
    assert files
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [*folders, *files]} == {0}
    server = psutil.Process(stack.agent.programs()["redis"])
    assert server.net_connections("inet") == []
    with Redis(unix_socket_path=str(state / "run" / "redis.sock")) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_records_that_carry_code_are_refused_and_told_once(stack, redis, mark, unharmed):
    queue, length = agent_queue(redis), len(stack.agent.log.read_text())
    bomb, loads = pickle.dumps(Runs(mark)), queue.serializer.dumps
    records = {
        "pickle": bomb,
        "packed": zlib.compress(bomb),
        "posix": b"cposix\nsystem\n(V mkdir %b\ntR." % str(mark).encode(),
        "foreign-function": loads(("os.mkdir", None, [str(mark)], {})),
        "a-class": loads(("subprocess.Popen", None, [["mkdir", str(mark)]], {})),
        "instance": loads(("mkdir", "os", [str(mark)], {})),
        "foreign-id": loads(("workers.jobs.run_job", None, ["job_elsewhere"], {})),
        "keywords": loads(("workers.jobs.run_job", None, [], {"key": "keywords"})),
        "unpacks-to-much": zlib.compress(bytes(4_000_000), 9),
        "../../../etc/cron.d/x": loads(("workers.jobs.run_job", None, ["../../../etc/cron.d/x"], {})),
        "job:with:colons": loads(("workers.jobs.run_job", None, ["job:with:colons"], {})),
    }
    assert len(records) < SIFT_FROM
    with listener() as (port, calls):
        for key, data in records.items():
            redis.hset(f"rq:job:{key}", mapping={"data": data, **hostile_fields(mark, port)})
            redis.rpush(queue.key, key)
        for registry, key in itertools.product(("scheduled", "deferred", "finished", "failed", "canceled"), records):
            redis.zadd(f"rq:{registry}:{QUEUE}", {key: 1})
        redis.sadd("rq:job:pickle:dependents", "packed")
        eventually(lambda: redis.llen(queue.key) == 0, within=60, what="the queue being empty")
        eventually(
            lambda: all(text(key) in log_since(stack, length) for key in records), what="each refusal in the log"
        )
        assert calls == []
    for key in records:
        assert log_since(stack, length).count(text(key)) == 1, key
        assert not redis.exists(f"rq:job:{key}")


def text(key):
    return f"({key!r}: "


def log_since(stack, length):
    return stack.agent.log.read_text()[length:]


def test_the_records_of_real_jobs_are_no_way_in_either(stack, redis, mark, tmp_path, unharmed, busy):
    """Of one that runs and of one that waits; whoever is replaced by the attacker's is put back from the journal."""
    plane, runs = stack.control_plane, tmp_path / "runs"
    _running, let_go = busy
    with listener() as (port, calls):
        with standing_still(stack):
            waiting = plane.submit("script.bash", {"script": f"echo waiting >> {runs}"})
            key = queued(redis)
            for name in redis.scan_iter("rq:job:job_*", count=1000, _type="hash"):
                bomb = pickle.dumps(Runs(mark))
                data = bomb if name.decode().endswith(key) else pickle.dumps(("os.abort", None, [], {}))
                redis.hset(name, mapping={"data": data, **hostile_fields(mark, port)})
                redis.xadd(name.replace(b":job:", b":results:"), {"return_value": bomb, "type": "1"})
        assert plane.wait(waiting, timeout=60)["status"] == "success"
        assert let_go() == ["running", "waiting"]
        assert calls == []


def test_an_id_that_is_said_again_runs_no_second_time(stack, redis, tmp_path, unharmed, busy):
    """The id of a job that has ended, of one that runs, and of one that waits."""
    plane, runs = stack.control_plane, tmp_path / "runs"
    running, let_go = busy
    ended = plane.submit("script.bash", {"script": f"echo ended >> {runs}"})
    assert plane.wait(ended, timeout=60)["status"] == "success"
    queue = agent_queue(redis)
    with standing_still(stack):
        waiting = plane.submit("script.bash", {"script": f"echo waiting >> {runs}"})
        record = redis.hgetall(f"rq:job:{queued(redis)}")
        for again in [*keys_of(stack, running), *keys_of(stack, ended), *keys_of(stack, waiting)] * 5:
            data = queue.serializer.dumps(("workers.jobs.run_job", None, [again], {}))
            redis.hset(f"rq:job:{again}", mapping={**record, "data": data})
            redis.rpush(queue.key, again)
        assert redis.llen(queue.key) == 16
    assert plane.wait(waiting, timeout=60)["status"] == "success"
    assert let_go() == ["running", "ended", "waiting"]
    eventually(lambda: redis.llen(queue.key) == 0, within=60, what="the queue being empty")
    assert runs.read_text().split() == ["running", "ended", "waiting"]


def test_rqs_commands_and_its_suspension_are_heard_by_nobody(stack, redis, unharmed, busy):
    running, let_go = busy
    names = registered_names(agent_queue(redis))
    assert names
    redis.set("rq:suspended", 1)
    for name, command in itertools.product(names, ("kill-horse", "shutdown", "stop-job", "stop-execution")):
        send_command(redis, name, command, job_id=running, execution_id="x")
        assert redis.publish(f"rq:pubsub:{name}", json.dumps({"command": command})) == 0
        redis.hset(
            f"rq:worker:{name}", mapping={"shutdown_requested_date": datetime.now(UTC).isoformat(), "state": "dead"}
        )
    assert let_go() == ["running"]
    redis.delete("rq:suspended")


@pytest.mark.parametrize("type_", ["string", "list", "zset", "hash"])
def test_wrong_types_under_every_key_stop_nothing(stack, redis, unharmed, busy, type_):
    _running, let_go = busy
    write = {
        "string": lambda key: redis.set(key, b"\xff\xfe"),
        "list": lambda key: redis.rpush(key, b"\xff\xfe", "x"),
        "zset": lambda key: redis.zadd(key, {b"\xff\xfe": 1}),
        "hash": lambda key: redis.hset(key, b"\xff\xfe", "x"),
    }[type_]
    known = {f"rq:{name}:{QUEUE}" for name in ("queue", "workers", "wip", "finished", "failed", "scheduled")}
    known |= {"rq:workers", "rq:queues", *(key.decode("utf-8", "replace") for key in redis.scan_iter("rq:*"))}
    for key in known:
        redis.delete(key)
        write(key)
    assert let_go() == ["running"]


def test_deleted_keys_are_put_back(stack, redis, unharmed, busy):
    _running, let_go = busy
    for key in redis.scan_iter("rq:*"):
        redis.delete(key)
    assert let_go() == ["running"]


def test_a_hundred_thousand_entries_are_gone_in_a_moment_and_cost_a_few_lines(stack, redis, unharmed, busy):
    _running, let_go = busy
    queue, length = agent_queue(redis), len(stack.agent.log.read_text())
    redis.lpush(queue.key, b"\xff\xfe\x00", "x" * 3_000_000, "../" * 100, "\r\n2026 [INFO] forged", "{}", "job_\u202e")
    for first in range(0, JUNK, 10_000):
        redis.lpush(queue.key, *(f"junk_{number}" for number in range(first, first + 10_000)))
    redis.sadd(f"rq:workers:{QUEUE}", *(f"rq:worker:x.{number}.{number}" for number in range(20_000)), b"\xff")
    assert let_go() == ["running"]
    eventually(lambda: redis.llen(queue.key) == 0, within=60, what="the queue being empty")
    log = log_since(stack, length)
    dropped = [line for line in log.splitlines() if "dropped" in line]
    assert 1 < len(dropped) < SIFT_FROM + 10, len(dropped)
    assert any(f"dropped {JUNK // 1000}" in line or "more entries" in line for line in dropped)
    assert max(map(len, log.splitlines())) < 2000
    assert "\n2026 [INFO] forged" not in log
    redis.delete(f"rq:workers:{QUEUE}")


def test_afterwards_the_agent_looks_as_healthy_as_it_is(stack, redis, unharmed):
    """Workers register every 20 s, whatever was done to their registration."""
    eventually(lambda: registered_names(agent_queue(redis)), within=60, what="the workers being registered")
    plane = stack.control_plane
    eventually(lambda: plane.agent(stack.agent_id)["status"] == "online", within=60, what="the agent being online")
