"""What a running server is made of, and how its coroutines reach the database: through threads, few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from sqlalchemy.orm import Session

from controlplane.api.watch import JobWatch
from controlplane.clock import Clock
from controlplane.models.engine import Database
from controlplane.services.changes import Changes, changes_of
from controlplane.services.key_auth import KeyCache
from controlplane.settings import ControlPlaneSettings

T = TypeVar("T")
_DATABASE_THREADS = 16
_HASH_THREADS = 2


class Runtime:
    """One per process. `listeners` are called in the event loop with the changes of each committed write."""

    def __init__(self, settings: ControlPlaneSettings, database: Database, clock: Clock) -> None:
        self.settings = settings
        self.database = database
        self.clock = clock
        self.up_since = clock.now()
        self.keys = KeyCache()
        self.watch = JobWatch()
        self.output_watch = JobWatch()
        """Wakes those who follow a job's output: at its end too."""
        self.listeners: list[Callable[[Changes], None]] = [
            lambda changes: self.watch.notify(changes.jobs),
            lambda changes: self.output_watch.notify(changes.jobs | changes.output),
        ]
        self.closing = False
        self._hashing: dict[str, asyncio.Lock] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._database_threads = CapacityLimiter(_DATABASE_THREADS)
        self._hash_threads = CapacityLimiter(_HASH_THREADS)

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Publish commits to this event loop."""
        self._loop = loop
        self.database.after_commit = self._publish

    async def read(self, work: Callable[[Session, float], T]) -> T:
        """Run `work(session, now)` on a snapshot."""
        return await to_thread.run_sync(self._read, work, limiter=self._database_threads)

    async def write(self, work: Callable[[Session, float], T], *, durable: bool = True) -> T:
        """Run `work(session, now)` in a write transaction; `durable` as in `Database.write`."""
        return await to_thread.run_sync(self._write, work, durable, limiter=self._database_threads)

    async def write_if(
        self, wanted: Callable[[Session, float], bool], work: Callable[[Session, float], T], *, durable: bool = True
    ) -> T | None:
        """Run `work` in a write transaction if `wanted` says so on a snapshot; else None, and no writer was held up."""

        def both() -> T | None:
            return self._write(work, durable) if self._read(wanted) else None

        return await to_thread.run_sync(both, limiter=self._database_threads)

    async def slow_hash(self, work: Callable[[], T]) -> T:
        """Run something that burns CPU on purpose: few at a time, away from the database's threads."""
        return await to_thread.run_sync(work, limiter=self._hash_threads)

    async def hash_once(self, digest: str, work: Callable[[], T]) -> T:
        """As `slow_hash`, one at a time per digest: a key's burst of first requests costs one hash."""
        lock = self._hashing.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                return await self.slow_hash(work)
        finally:
            if not lock.locked():
                self._hashing.pop(digest, None)

    def _read(self, work: Callable[[Session, float], T]) -> T:
        with self.database.read() as session:
            return work(session, self.clock.now())

    def _write(self, work: Callable[[Session, float], T], durable: bool) -> T:  # noqa: FBT001 - run_sync passes by position
        with self.database.write(durable=durable) as session:
            return work(session, self.clock.now())

    def _publish(self, session: Session) -> None:
        changes = changes_of(session)
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._deliver, changes)

    def _deliver(self, changes: Changes) -> None:
        for listener in self.listeners:
            listener(changes)


def runtime_of(request: Request) -> Runtime:
    """The runtime of the application that serves this request."""
    found: Any = request.app.state.runtime
    if not isinstance(found, Runtime):
        raise TypeError("the application was made without a runtime")
    return found
