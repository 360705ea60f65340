"""A poller's loops one at a time, inside the test's own event loop, against real servers and a real journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from easyalert.client import ControlPlaneClient
from easyalert.journal import Journal, NewJob
from easyalert.runtime import Backoff, Stop, this_process
from easyalert.sealing import load_public_key
from poller.condition import Condition
from poller.dispatch import Dispatch
from poller.parts import Parts
from poller.session import Registration, Session
from tests.support.agent_home import AgentHome
from tests.support.extended_server import ExtendedServer


class Rig:
    """Parts of a poller and helpers to play everybody else's part."""

    def __init__(self, home: AgentHome) -> None:
        settings = home.settings
        self.home = home
        self.key = load_public_key(settings.agent_key_path)
        self.condition = Condition()
        self.parts = Parts(
            settings=settings,
            client=ControlPlaneClient(settings),
            journal=Journal(settings.journal_path),
            session=Session(),
            condition=self.condition,
            dispatch=Dispatch(settings),
            stop=Stop(),
            end=Stop(),
        )
        self.journal = self.parts.journal
        self.session = self.parts.session
        self._tasks: list[asyncio.Task[Any]] = []

    def register(self, *features: str, long_poll_s: int = 0) -> None:
        self.session.established(Registration("agt_1", frozenset(features), long_poll_s))

    def start(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[Any]:
        task = asyncio.create_task(loop())
        self._tasks.append(task)
        return task

    async def until(self, probe: Callable[[], Any], within: float = 20.0) -> Any:
        """The first true answer of `probe`. A task that fails fails the test."""
        end = asyncio.get_running_loop().time() + within
        while not (found := probe()):
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            assert asyncio.get_running_loop().time() < end, f"not true within {within} s"
            await asyncio.sleep(0.003)
        return found

    def finish(self, *job_ids: str, attempt: int | None = None, **fields: Any) -> None:
        """Jobs that ran and ended, ready for the outbox."""
        self.journal.take([new_job(job_id, attempt=attempt) for job_id in job_ids])
        for job_id in job_ids:
            key = new_job(job_id, attempt=attempt).key
            assert self.journal.start(key, this_process()) is not None
            self.journal.finish(key, result(job_id, **fields))

    async def close(self) -> None:
        self.parts.stop.set()
        self.parts.end.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.parts.client.close()
        self.parts.dispatch.close()
        self.journal.close()


def new_job(job_id: str, **changes: Any) -> NewJob:
    fields: dict[str, Any] = {
        "job_id": job_id,
        "attempt": None,
        "action": "script.bash",
        "connection_id": None,
        "sealed": b"sealed",
        "timeout_s": 300,
        "idempotent": None,
        "needs_ack": False,
        "lease_s": None,
        "start_within_s": 900.0,
    }
    return NewJob(**{**fields, **changes})


def result(job_id: str, **changes: Any) -> dict[str, Any]:
    base = {"jobId": job_id, "status": "success", "output": None, "error": None, "exitCode": 0, "durationMs": 1}
    return {**base, **changes}


def job(job_id: str, **more: Any) -> dict[str, Any]:
    """An entry of a poll's answer."""
    return {"jobId": job_id, "actionType": "script.bash", "params": {"command": "true"}, **more}


@pytest.fixture
def extended_server():
    server = ExtendedServer()
    yield server
    server.close()
    assert server.violations == []


@pytest.fixture
def drive(make_home):
    """Run `scenario(rig)` against a server: `drive(server, scenario, redis=True, max_concurrent_jobs=2)`."""

    def run(server: Any, scenario: Callable[[Rig], Coroutine[Any, Any, None]], *, redis: bool = False, **settings):
        home = make_home(server.url, **settings)
        if redis:
            home.start_redis()

        async def main() -> None:
            rig = Rig(home)
            try:
                await asyncio.wait_for(scenario(rig), 40)
            finally:
                await rig.close()

        asyncio.run(main())

    return run


@pytest.fixture
def pauses(monkeypatch):
    """Back-offs take 10 ms; the list holds what each would have been."""
    taken: list[float] = []
    real = Backoff.next

    def short(self: Backoff) -> float:
        taken.append(real(self))
        return 0.01

    monkeypatch.setattr(Backoff, "next", short)
    return taken
