"""A worker as RQ knows it: registered in Redis, busy or idle, with its current job; and its blocking pop.

Everything here is for people who watch (`rq info`, rq-dashboard) and for waking up. Nothing in Redis decides whether a
job runs: that is the journal's start fence. So whatever fails here costs a view, never a job. RQ's own loop, its
work-horse, its retries and its registries' clean-up are not used.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
from datetime import datetime
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Worker
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import Execution
from rq.job import JobStatus
from rq.utils import now, utcformat
from rq.worker import WorkerStatus
from rq.worker_registration import REDIS_WORKER_KEYS, WORKERS_BY_QUEUE_KEY, register, unregister

from easyalert.queues import RESULT_TTL_S, AgentJob, AgentQueue, PrimitiveSerializer, remove_wrong_types
from workers.entries import shown_job
from workers.jobs import Ended

log = logging.getLogger(__name__)

WORKER_TTL_S: Final = 90
"""A worker whose registration nobody renews is gone from the lists after this time."""
POP_S: Final = 20
"""Length of one blocking pop; an idle worker renews its registration in between."""
_MARGIN_S: Final = 120
"""What RQ's records of a running job outlive its time limit by; they end with the job, this is only a net."""
_PID_DIGITS: Final = 10
_UNFIT: Final = re.compile(r"[^A-Za-z0-9_.-]+")


class Withdrawn(Exception):  # noqa: N818 - not an error: the pop ended because somebody spoke on the lifeline
    """The blocking pop was left without a job."""


def worker_name(agent_name: str, slot: int, pid: int) -> str:
    """`edge-fra-01.3.4711`: agent, slot in the pool, process."""
    return f"{_UNFIT.sub('-', agent_name)[:40]}.{slot}.{pid}"


def pid_of(name: str) -> int | None:
    """The process in a worker's name; None for a foreign name."""
    tail = name.rpartition(".")[2]
    return int(tail) if tail.isascii() and tail.isdecimal() and len(tail) <= _PID_DIGITS else None


class AgentWorker(Worker):
    """One worker's records in Redis. Every method raises RedisError when Redis is away."""

    def __init__(self, queue: AgentQueue, name: str, *, pid: int | None = None, born: datetime | None = None) -> None:
        super().__init__(
            [queue],
            name=name,
            connection=queue.connection,
            queue_class=AgentQueue,
            job_class=AgentJob,
            serializer=PrimitiveSerializer,
            worker_ttl=WORKER_TTL_S,
            prepare_for_work=False,  # that would talk to Redis in the constructor
        )
        self.queue = queue
        self.pid = pid or os.getpid()
        self.hostname = socket.gethostname()
        self.ip_address = "local"
        self.birth_date = self.last_heartbeat = born or now()

    def _set_connection(self, connection: Redis) -> Redis:
        return connection  # RQ would raise its time-outs to minutes

    # ---- the worker's own registration ------------------------------------------------------------------------------

    def publish(self, *, busy: bool = False, ttl: int = WORKER_TTL_S) -> None:
        """Write or renew the registration; makes it anew after somebody has emptied Redis."""
        self.last_heartbeat = now()
        state = WorkerStatus.BUSY if busy else WorkerStatus.IDLE
        with self.connection.pipeline() as pipe:
            register(self, pipe)
            pipe.hset(self.key, mapping={**self.serialize(), "state": state.value})
            pipe.expire(self.key, ttl)
            pipe.expire(self.executions_key, ttl)
            pipe.execute()

    def bury(self) -> None:
        """Remove the registration and whatever it was said to be running."""
        try:
            running = self.connection.smembers(self.executions_key)
        except ResponseError:  # no set: somebody else's
            running = set()
        with self.connection.pipeline() as pipe:
            unregister(self, pipe)
            pipe.delete(self.key, self.executions_key)
            for composite in running:
                if composite.count(b":") == 1 and composite.isascii():  # else somebody else has put it there
                    self._forget(Execution.from_composite_key(composite.decode(), self.connection), pipe)
            pipe.execute()

    def _forget(self, execution: Execution, pipe: Any) -> None:
        execution.worker_name = self.name
        job = AgentJob(execution.job_id, connection=self.connection, serializer=PrimitiveSerializer)
        job.origin = self.queue.name
        execution.delete(job, pipe)

    # ---- waiting for work -------------------------------------------------------------------------------------------

    def pop(self, lifeline: int) -> str | None:
        """Block for the next row key, up to POP_S; None when there is none. Raises Withdrawn.

        A popped key is in no list of Redis: should this process end before the start fence, the poller's reconciler
        puts it back from the journal. RQ's intermediate list would promise the same and keep it much later.
        """
        pool = self.connection.connection_pool
        connection = pool.get_connection()
        answered = False
        try:
            connection.send_command("BLPOP", self.queue.key, POP_S)
            # our own wait instead of redis-py's: a word on the lifeline must end it at once
            stream = connection._sock.fileno()  # noqa: SLF001 - there is no public way to wait on it with another file
            ready, _, _ = select.select([stream, lifeline], [], [], POP_S + 2)
            if stream not in ready:
                if lifeline in ready:
                    raise Withdrawn
                raise RedisError("the blocking pop was not answered")
            answer = connection.read_response()
            answered = True
        finally:
            if not answered:
                connection.disconnect()  # an answer that comes later belongs to nobody
            pool.release(connection)
        return None if not answer else str(answer[1].decode("utf-8", "replace"))

    def mend(self, *keys: str) -> bool:
        """Delete what has another type than RQ puts there for this queue, worker and jobs; False: there was nothing."""
        types = {self.key: "hash", self.executions_key: "set"}
        for key in keys:
            types |= {
                AgentJob.key_for(key): "hash",
                f"{RQ_KEY_PREFIX}:results:{key}": "stream",
                f"{RQ_KEY_PREFIX}:executions:{key}": "zset",
            }
        return bool(remove_wrong_types(self.queue, types))

    # ---- what is shown of a job -------------------------------------------------------------------------------------

    def begin(self, job: AgentJob, limit_s: int) -> Execution:
        """Show the job as started, by this worker."""
        ttl = limit_s + _MARGIN_S
        with self.connection.pipeline() as pipe:
            execution = Execution.create(job, ttl, pipeline=pipe, worker_name=self.name)
            self.executions[execution.id] = execution
            self.set_state(WorkerStatus.BUSY.value, pipeline=pipe)
            self.heartbeat(ttl, pipeline=pipe)
            job.prepare_for_execution(self.name, pipeline=pipe)
            pipe.persist(job.key)
            pipe.execute()
        return execution

    def end(self, job: AgentJob, ended: Ended, execution: Execution | None = None) -> None:
        """Show the job as finished or failed, for RESULT_TTL_S, and this worker as idle."""
        job.ended_at = now()
        with self.connection.pipeline() as pipe:
            if ended.ok:
                self._succeed(job, ended, execution, pipe)
            else:
                self._fail(job, ended, execution, pipe)
            pipe.hset(job.key, "ended_at", utcformat(job.ended_at))
            pipe.expire(job.key, RESULT_TTL_S)
            pipe.hincrbyfloat(self.key, "total_working_time", ended.duration_ms / 1000)
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            self.set_state(WorkerStatus.IDLE.value, pipeline=pipe)
            self.heartbeat(WORKER_TTL_S, pipeline=pipe)
            pipe.execute()

    def _succeed(self, job: AgentJob, ended: Ended, execution: Execution | None, pipe: Any) -> None:
        job._result = {"exitCode": ended.exit_code, "durationMs": ended.duration_ms}  # noqa: SLF001 - as RQ's own worker
        job._handle_success(RESULT_TTL_S, pipe, self.name, **_spans(job, execution))  # noqa: SLF001 - as RQ's own worker
        self.increment_successful_job_count(pipeline=pipe)

    def _fail(self, job: AgentJob, ended: Ended, execution: Execution | None, pipe: Any) -> None:
        job.failure_ttl = RESULT_TTL_S
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job._handle_failure(_failure_text(job.id, ended), pipe, self.name, **_spans(job, execution))  # noqa: SLF001 - as RQ's own worker
        self.increment_failed_job_count(pipeline=pipe)


def _spans(job: AgentJob, execution: Execution | None) -> dict[str, Any]:
    if execution is None:
        return {}
    return {
        "execution_id": execution.id,
        "execution_started_at": execution.created_at,
        "execution_ended_at": job.ended_at,
    }


def show_end(queue: AgentQueue, key: str, ended: Ended) -> None:
    """Show as failed a job whose worker cannot say so itself. Raises RedisError."""
    job = shown_job(queue, key)
    if job is None:
        return
    job.failure_ttl = RESULT_TTL_S
    with queue.connection.pipeline() as pipe:
        job.set_status(JobStatus.FAILED, pipeline=pipe)
        job._handle_failure(_failure_text(key, ended), pipe)  # noqa: SLF001 - as RQ's own worker
        pipe.hset(job.key, "ended_at", utcformat(now()))
        pipe.expire(job.key, RESULT_TTL_S)
        pipe.execute()


def _failure_text(key: str, ended: Ended) -> str:
    # the error's text may quote a job's output, which has no place in Redis
    return f"{ended.word}, exit code {ended.exit_code}; see: easyalert-agent jobs {key}"


def registered_names(queue: AgentQueue) -> list[str]:
    """Names of all workers registered for the queue. Raises RedisError."""
    prefix = AgentWorker.redis_worker_namespace_prefix
    found = (key.decode("utf-8", "replace") for key in queue.connection.smembers(WORKERS_BY_QUEUE_KEY % queue.name))
    return [key.removeprefix(prefix) for key in found if key.startswith(prefix)]


def forget_names(queue: AgentQueue) -> None:
    """Forget who is registered; workers that live register again within POP_S. Raises RedisError."""
    queue.connection.delete(WORKERS_BY_QUEUE_KEY % queue.name, REDIS_WORKER_KEYS)
