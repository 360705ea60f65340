"""Every Redis name, and the only door to RQ's data: one queue, one allow-listed function, a serializer without code.

Redis carries keys of journal rows and a readable description, never a parameter (rq-dashboard shows both). Whoever can
write to Redis can at most make a worker look at the journal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from redis import Redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry
from rq import Queue
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY

from easyalert.errors import QueueError
from easyalert.settings import AgentSettings

log = logging.getLogger(__name__)

QUEUE: Final = "easyalert"
JOB_FUNCTION: Final = "workers.jobs.run_job"
"""Dotted name of the one function a queued job may name. Wire format: it is stored in Redis."""
RESULT_TTL_S: Final = 600
"""How long rq-dashboard shows ended jobs."""
AGENT_USER: Final = "agent"
"""The account of the agent's own programs on the embedded server; `default` is switched off there."""
VIEWER_USER: Final = "viewer"
"""The read-only Redis account of rq-dashboard on the embedded server."""

T = TypeVar("T")

_PRIMITIVES: Final = (str, bytes, int, float, bool, type(None))


class PrimitiveSerializer:
    """Pickle that carries lists, dicts and primitives only, in both directions.

    The stock rq-dashboard unpickles by itself, so the format must be pickle; no class or function can be named in
    ours, so nothing runs on load.
    """

    @staticmethod
    def dumps(value: Any) -> bytes:
        """Raises TypeError for anything that is not made of primitives."""
        _check(value)
        return pickle.dumps(value, protocol=4)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Raises DeserializationError for a payload that names any class or function."""
        try:
            return _PrimitiveUnpickler(io.BytesIO(data)).load()
        except Exception as error:  # noqa: BLE001 - a hostile payload may raise anything; all of it is one refusal
            raise DeserializationError(f"not a payload of this agent ({type(error).__name__})") from None


class _PrimitiveUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, _pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent ids are not allowed")


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key)
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif type(value) not in _PRIMITIVES:
        raise TypeError(f"{type(value).__name__} may not be put into Redis")


class AgentJob(Job):
    """An RQ job that refuses every function but ours, whatever Redis says."""

    @property
    def func(self) -> Any:
        """The callable; raises DeserializationError for a foreign name."""
        if self.func_name != JOB_FUNCTION:
            raise DeserializationError("this agent runs only its own job function")
        return super().func

    # RQ imports and calls whatever a job's record names here, before and after any check of the function
    @property
    def success_callback(self) -> None:
        """None: this agent's jobs have no callbacks, whatever Redis says."""

    @property
    def failure_callback(self) -> None:
        """None, as `success_callback`."""

    @property
    def stopped_callback(self) -> None:
        """None, as `success_callback`."""


class AgentQueue(Queue):
    """The queue with our job class and serializer."""

    job_class = AgentJob


def connect(settings: AgentSettings, *, glance: bool = False) -> Redis:
    """A lazy connection to the agent's Redis: unix socket of the embedded server, or REDIS_URL.

    Waits for a server that is gone are capped near 2 s in all: a process that waits longer cannot stop in time. One
    that accepts and does not answer is given 10 s, once. `glance`: for who only wants to say how things
    are; nothing is tried twice, an answer comes within 1 s or not at all.
    """
    retry = (
        Retry(NoBackoff(), 0) if glance else Retry(ExponentialBackoff(cap=0.5, base=0.05), 4, (RedisConnectionError,))
    )
    options: dict[str, Any] = {
        "retry": retry,
        "socket_timeout": 1 if glance else 10,
        "socket_connect_timeout": 1 if glance else 2,
        "health_check_interval": 30,
        # left to itself redis-py reads its own package's metadata for each client (10 ms, 1 MB), to send what the
        # embedded server's account may not even say
        "driver_info": DriverInfo(name=None, lib_version=None),
    }
    if settings.redis_url is not None:
        return Redis.from_url(settings.redis_url.get_secret_value(), **options)
    options.pop("socket_connect_timeout")
    with contextlib.suppress(FileNotFoundError):  # no file: a server without accounts
        options |= {"username": AGENT_USER, "password": settings.redis_password_path.read_text(encoding="ascii")}
    return Redis(unix_socket_path=str(settings.redis_socket), **options)


def agent_queue(connection: Redis) -> AgentQueue:
    """The agent's one queue."""
    return AgentQueue(QUEUE, connection=connection, serializer=PrimitiveSerializer, job_class=AgentJob)


def enqueue(queue: AgentQueue, jobs: Iterable[tuple[str, str, int]]) -> int:
    """Put (row key, description, time limit in seconds) into the queue; doubles are harmless. Raises QueueError."""
    prepared = [
        Queue.prepare_data(
            JOB_FUNCTION,
            args=(key,),
            job_id=key,
            description=description,
            # RQ's own limit is only a net under the pool's deadline, which kills the whole tree
            timeout=limit_s + 120,
            result_ttl=RESULT_TTL_S,
            failure_ttl=RESULT_TTL_S,
        )
        for key, description, limit_s in jobs
    ]
    if not prepared:
        return 0
    try:
        _mending(queue, lambda: queue.enqueue_many(prepared))
    except RedisError as error:
        raise QueueError(f"Redis does not take jobs ({type(error).__name__}); they wait in the journal") from None
    return len(prepared)


def queued_keys(queue: AgentQueue) -> set[str]:
    """Row keys that stand in the queue now, and whatever else somebody has put there. Raises QueueError."""
    try:
        found = _mending(queue, lambda: queue.connection.lrange(queue.key, 0, -1))
    except RedisError as error:
        raise QueueError(f"Redis does not answer ({type(error).__name__})") from None
    return {key.decode("utf-8", "replace") for key in found}


def registered_workers(queue: AgentQueue) -> int:
    """How many RQ workers of this queue Redis knows; a killed one counts until its key runs out. Raises QueueError."""
    try:
        return int(_mending(queue, lambda: queue.connection.scard(WORKERS_BY_QUEUE_KEY % queue.name)))
    except RedisError as error:
        raise QueueError(f"Redis does not answer ({type(error).__name__})") from None


# ---- keys of ours that somebody else has written ---------------------------------------------------------------------


def is_wrong_type(error: Exception) -> bool:
    """True when a command met a key of another type than it works on: no server does that to itself."""
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)


def is_servers_trouble(error: ResponseError) -> bool:
    """True when the server takes no writes now, whatever the key: it may later."""
    words = ("MISCONF", "MASTERDOWN", "NOREPLICAS", "LOADING")
    return isinstance(error, OutOfMemoryError | ReadOnlyError | NoPermissionError) or any(
        word in str(error) for word in words
    )


def remove_wrong_types(queue: AgentQueue, more: Mapping[str, str] | None = None) -> list[str]:
    """Delete the agent's keys that hold something else than RQ puts there, and return their names. Raises RedisError.

    Such a key would stop every worker, and nothing of value is lost with it: the journal puts its jobs back. `more`
    has further keys and the type (as `TYPE` says it) that each must have.
    """
    types = {
        queue.key: "list",
        queue.redis_queues_keys: "set",
        REDIS_WORKER_KEYS: "set",
        WORKERS_BY_QUEUE_KEY % queue.name: "set",
        **{
            registry.key: "zset"
            for registry in (queue.started_job_registry, queue.finished_job_registry, queue.failed_job_registry)
        },
        **(more or {}),
    }
    with queue.connection.pipeline(transaction=False) as pipe:
        for key in types:
            pipe.type(key)
        found = dict(zip(types, pipe.execute(), strict=True))
    wrong = [key for key, type_ in found.items() if type_.decode() not in {types[key], "none"}]
    if wrong:
        queue.connection.delete(*wrong)
        log.warning("deleted %s from Redis: somebody else had put something of another type there", ", ".join(wrong))
    return wrong


def _mending(queue: AgentQueue, work: Callable[[], T]) -> T:
    """What `work` returns; when a key of the wrong type stops it, that key is deleted and it is tried once more."""
    try:
        return work()
    except ResponseError as error:
        if not is_wrong_type(error) or not remove_wrong_types(queue):
            raise
    return work()
