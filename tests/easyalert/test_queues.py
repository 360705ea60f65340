import contextlib
import os
import pickle
import signal
import socket
import tempfile
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rq.exceptions import DeserializationError
from rq.job import Job

from easyalert.errors import QueueError
from easyalert.queues import (
    JOB_FUNCTION,
    QUEUE,
    AgentJob,
    PrimitiveSerializer,
    agent_queue,
    connect,
    enqueue,
    queued_keys,
)
from easyalert.settings import AgentSettings
from tests.support.redis_server import RedisServer


def settings(**values):
    required = {"agent_api_url": "https://example.com", "agent_api_key": "key"}
    return AgentSettings(_env_file=None, **required, **values)


# ---- the serializer -------------------------------------------------------------------------------------------------

primitives = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner), st.tuples(inner)),
)


@given(primitives)
def test_primitives_go_through_and_stock_pickle_reads_them(value):
    data = PrimitiveSerializer.dumps(value)
    assert PrimitiveSerializer.loads(data) == value
    assert pickle.loads(data) == value, "rq-dashboard unpickles by itself"


class Text(str):  # noqa: SLOT000 - any subclass
    pass


@pytest.mark.parametrize("value", [print, Path(), object(), Text("a"), [1, {"a": {2}}], {print: 1}, (1, Exception())])
def test_nothing_but_primitives_goes_out(value):
    with pytest.raises(TypeError, match="may not be put into Redis"):
        PrimitiveSerializer.dumps(value)


class Runs:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class RunsWithState(dict):
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (dict, (), {"a": Runs(os.mkdir, self.path)})


def hostile(mark):
    text = str(mark)
    yield "reduce", pickle.dumps(Runs(os.mkdir, text))
    yield "nested", pickle.dumps([1, {"a": (Runs(os.mkdir, text),)}])
    yield "state", pickle.dumps(RunsWithState(text))
    yield "builtin", pickle.dumps(Runs(eval, f"__import__('os').mkdir({text!r})"))
    yield "protocol 0", pickle.dumps(Runs(os.mkdir, text), protocol=0)
    yield "inst", b"(S'" + text.encode() + b"'\nios\nmkdir\n."
    yield "obj", b"(cos\nmkdir\nS'" + text.encode() + b"'\no."
    yield "stack global", b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(text)]) + text.encode() + b"\x85R."
    yield "extension", b"\x80\x02\x82\x01."
    yield "persistent id", b"\x80\x02K\x01Q."
    yield "huge claim", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fx."
    yield "no pickle", b"\x00garbage"
    yield "empty", b""


@pytest.mark.parametrize("kind", [name for name, _ in hostile("x")])
def test_hostile_payloads_run_nothing(tmp_path, kind):
    mark = Path(tempfile.gettempdir()) / f"ea-{os.getpid()}-mark"
    payload = dict(hostile(mark))[kind]
    with pytest.raises(DeserializationError, match="not a payload of this agent"):
        PrimitiveSerializer.loads(payload)
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["reduce", "inst", "obj", "stack global"])
def test_the_hostile_payloads_are_hostile(kind):
    mark = Path(tempfile.gettempdir()) / f"ea-{os.getpid()}-proof"
    pickle.loads(dict(hostile(mark))[kind])
    mark.rmdir()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_payload_or_a_refusal(data):
    with contextlib.suppress(DeserializationError):
        PrimitiveSerializer.loads(data)


# ---- with a real Redis ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with tempfile.TemporaryDirectory(prefix="ea") as folder:
        server = RedisServer(Path(folder) / "redis.sock", folder=Path(folder))
        yield server
        server.kill()


@pytest.fixture
def connection(server):
    server.flush()
    with connect(settings(redis_url=server.url)) as connection:
        yield connection


@pytest.mark.system
def test_jobs_stand_in_the_queue_by_key(connection):
    queue = agent_queue(connection)
    assert enqueue(queue, [("job_1", "script.bash job_1", 60), ("job_2", "http.request job_2", 30)]) == 2
    assert queued_keys(queue) == {"job_1", "job_2"}
    assert enqueue(queue, []) == 0


@pytest.mark.system
def test_doubles_are_harmless(connection):
    queue = agent_queue(connection)
    for _ in range(3):
        enqueue(queue, [("job_1", "script.bash job_1", 60)])
    assert queued_keys(queue) == {"job_1"}
    assert queue.fetch_job("job_1").args in (("job_1",), ["job_1"])


@pytest.mark.system
def test_redis_holds_the_key_and_a_description_and_nothing_else(connection):
    queue = agent_queue(connection)
    enqueue(queue, [("job_1", "script.bash job_1", 60)])
    record = connection.hgetall("rq:job:job_1")
    assert pickle.loads(zlib.decompress(record[b"data"])) == (JOB_FUNCTION, None, ("job_1",), {})
    assert record[b"description"] == b"script.bash job_1"
    assert record[b"origin"] == QUEUE.encode()
    assert int(record[b"timeout"]) == 180, "behind the pool's own deadline"


@pytest.mark.system
@pytest.mark.parametrize("function", ["os.system", "builtins.eval", "workers.jobs.other", "workers.jobs", ""])
def test_foreign_functions_are_refused_whatever_redis_says(connection, function):
    queue = agent_queue(connection)
    enqueue(queue, [("job_1", "script.bash job_1", 60)])
    forged = pickle.dumps((function, None, ("touch /tmp/x",), {}))
    connection.hset("rq:job:job_1", "data", zlib.compress(forged))
    job = queue.fetch_job("job_1")
    assert isinstance(job, AgentJob)
    with pytest.raises(DeserializationError, match="only its own job function"):
        _ = job.func


@pytest.mark.system
@pytest.mark.parametrize("callback", ["success", "failure", "stopped"])
def test_callbacks_put_into_redis_are_not_looked_up(connection, callback):
    """RQ would import and call whatever stands there."""
    queue = agent_queue(connection)
    enqueue(queue, [("job_1", "script.bash job_1", 60)])
    connection.hset("rq:job:job_1", f"{callback}_callback_name", "antigravity.anything")
    stock = Job.fetch("job_1", connection=connection, serializer=PrimitiveSerializer)
    assert getattr(stock, f"_{callback}_callback_name") == "antigravity.anything", "the attack is real"
    assert getattr(queue.fetch_job("job_1"), f"{callback}_callback") is None


@pytest.mark.system
def test_a_hostile_payload_in_redis_is_refused_on_reading(connection, tmp_path):
    queue = agent_queue(connection)
    enqueue(queue, [("job_1", "script.bash job_1", 60)])
    connection.hset("rq:job:job_1", "data", zlib.compress(pickle.dumps(Runs(os.mkdir, str(tmp_path / "mark")))))
    with pytest.raises(DeserializationError):
        _ = queue.fetch_job("job_1").func
    assert not (tmp_path / "mark").exists()


# ---- Redis away -----------------------------------------------------------------------------------------------------


def quickly(call, within=15.0):
    begun = time.monotonic()
    with pytest.raises(QueueError):
        call()
    assert time.monotonic() - begun < within


@pytest.mark.system
def test_a_server_that_is_gone_is_a_queue_error_soon(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        port = taken.getsockname()[1]
        for chosen in (settings(state_dir=tmp_path), settings(redis_url=f"redis://127.0.0.1:{port}/0")):
            with connect(chosen) as connection:
                queue = agent_queue(connection)
                quickly(lambda queue=queue: queued_keys(queue))
                quickly(lambda queue=queue: enqueue(queue, [("job_1", "script.bash job_1", 60)]))


@pytest.mark.system
def test_a_host_that_does_not_answer_is_a_queue_error_soon():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        waiting = []
        for _ in range(3):  # fills the backlog: further connections are not even refused
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
            waiting.append(client)
        with connect(settings(redis_url=f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")) as connection:
            quickly(lambda: queued_keys(agent_queue(connection)))
        for client in waiting:
            client.close()


@pytest.mark.system
def test_a_read_only_or_full_server_is_a_queue_error(connection):
    queue = agent_queue(connection)
    connection.config_set("maxmemory", "1")
    connection.config_set("maxmemory-policy", "noeviction")
    try:
        quickly(lambda: enqueue(queue, [("job_1", "script.bash job_1", 60)]))
    finally:
        connection.config_set("maxmemory", "0")
    assert enqueue(queue, [("job_1", "script.bash job_1", 60)]) == 1


@pytest.mark.system
def test_a_glance_at_a_hung_server_is_short(server):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        with connect(settings(redis_url=server.url), glance=True) as connection:
            quickly(lambda: queued_keys(agent_queue(connection)))
    finally:
        os.kill(server.pid, signal.SIGCONT)
