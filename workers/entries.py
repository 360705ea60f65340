"""What stands in the queue and in its jobs' records: taken for nothing but a hint, because anybody may have written it.

A key counts when the journal knows it; the record beside it must name our function with that key as its only argument.
Of the rest of a record only what people see is taken over: RQ's own reading would obey its callbacks, webhooks,
dependencies and group, and unpack a few bytes to gigabytes.
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from collections.abc import Callable, Collection
from typing import Final

from redis.exceptions import RedisError, ResponseError
from rq.job import JobStatus
from rq.utils import utcparse

from easyalert.queues import JOB_FUNCTION, RESULT_TTL_S, AgentJob, AgentQueue, PrimitiveSerializer

log = logging.getLogger(__name__)

RECORD_MAX_BYTES: Final = 4096
"""Of one field of a record: ours are some hundred bytes, and unpacked not much more."""
SIFT_FROM: Final = 32
"""So many entries may wait behind one that is not ours before all are looked through."""
_SIFT_STEP: Final = 1000
_FIELDS: Final = ("data", "description", "created_at", "enqueued_at")


class Entries:
    """One worker's hand in the queue. Every method raises RedisError when Redis is away."""

    def __init__(self, queue: AgentQueue, known: Callable[[], Collection[str]]) -> None:
        """`known` answers the keys of all rows that wait in the journal."""
        self._queue = queue
        self._known = known

    def fetch(self, key: str) -> AgentJob | None:
        """The job, if it is ours: our function, its own id as the only argument. Else it is dropped and logged."""
        try:
            record = _record(self._queue, key)
            function, instance, arguments, keywords = PrimitiveSerializer.loads(_unpacked(record["data"]))
            ours = (function, instance, list(arguments), keywords) == (JOB_FUNCTION, None, [key], {})
        except Exception as error:
            if isinstance(error, RedisError) and not isinstance(error, ResponseError):
                raise
            # whoever writes to Redis decides what goes wrong here, a key of the wrong type included
            self.drop(key, f"its record cannot be read, {type(error).__name__}")
            return None
        if not ours:
            self.drop(key, "its record names a foreign function or other arguments")
            return None
        return _clean(self._queue, key, record)

    def drop(self, key: str, why: str) -> None:
        """Log and forget what somebody else has put into the queue, and what may lie behind it."""
        log.warning("dropped something from the queue that this agent did not put there (%.80r: %s)", key, why)
        self._queue.connection.delete(AgentJob.key_for(key))
        self._sift()

    def _sift(self) -> None:
        """Take everything out of a long queue that is no job of this agent, at once.

        One by one, the jobs behind 100,000 entries of somebody else would wait for minutes, and each of those would be
        a line in the log. Should this process end in between, the reconciler puts back what it held.
        """
        left, dropped = int(self._queue.connection.llen(self._queue.key)), 0
        if left < SIFT_FROM:
            return
        while left > 0:
            keys = self._take(min(left, _SIFT_STEP))
            left = left - len(keys) if keys else 0
            ours = self._known()
            with self._queue.connection.pipeline(transaction=False) as pipe:
                for key in keys:
                    if key in ours:
                        pipe.rpush(self._queue.key, key)
                    else:
                        pipe.delete(AgentJob.key_for(key))
                        dropped += 1
                pipe.execute()
        if dropped:
            log.warning("dropped %d more entries from the queue that this agent did not put there", dropped)

    def _take(self, count: int) -> list[str]:
        with self._queue.connection.pipeline() as pipe:
            pipe.lrange(self._queue.key, 0, count - 1)
            pipe.ltrim(self._queue.key, count, -1)
            taken = pipe.execute()[0]
        return [key.decode("utf-8", "replace") for key in taken]


def shown_job(queue: AgentQueue, key: str) -> AgentJob | None:
    """The job as people see it, whatever its record says; None when there is none. Raises RedisError."""
    try:
        record = _record(queue, key)
    except ValueError:
        record = {}
    return _clean(queue, key, record) if record or queue.connection.exists(AgentJob.key_for(key)) else None


def _record(queue: AgentQueue, key: str) -> dict[str, bytes]:
    """What there is of four fields of the job's hash. Raises ValueError when one of them is large."""
    name = AgentJob.key_for(key)
    with queue.connection.pipeline(transaction=False) as pipe:
        for field in _FIELDS:
            pipe.hstrlen(name, field)
        sizes = pipe.execute()
    if max(sizes) > RECORD_MAX_BYTES:
        raise ValueError("a large record")
    values = queue.connection.hmget(name, _FIELDS)
    return {field: value for field, value in zip(_FIELDS, values, strict=True) if value is not None}


def _unpacked(data: bytes) -> bytes:
    """RQ's compressed or plain data. Raises ValueError when it would be large."""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, RECORD_MAX_BYTES)
    except zlib.error:
        return data
    if unpacking.unconsumed_tail:
        raise ValueError("a large record")
    return plain


def _clean(queue: AgentQueue, key: str, record: dict[str, bytes]) -> AgentJob:
    job: AgentJob = AgentJob.create(
        JOB_FUNCTION,
        args=(key,),
        id=key,
        description=record.get("description", b"").decode("utf-8", "replace"),
        result_ttl=RESULT_TTL_S,
        failure_ttl=RESULT_TTL_S,
        origin=queue.name,
        status=JobStatus.QUEUED,
        connection=queue.connection,
        serializer=PrimitiveSerializer,
    )
    for field in ("created_at", "enqueued_at"):
        with contextlib.suppress(ValueError):
            setattr(job, field, utcparse(record.get(field, b"").decode("utf-8", "replace")))
    return job
