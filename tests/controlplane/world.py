"""A control plane without HTTP: a real database, a clock that the test moves, and the agents' and operators' moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from controlplane.models.engine import Database
from controlplane.models.tables import Agent, Attempt, Job
from controlplane.services import acks, agent_link, agents, audit, claims, job_view, jobs, keys, reports, sweep
from controlplane.services.key_auth import AgentIdentity
from easyalert.protocol.messages import AckData, AckItem, HeartbeatRequest, Receipt, RegisterRequest

T = TypeVar("T")
EXTENSIONS = ("longPoll", "ack", "receipts")
START = 1_800_000_000.0


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, at: float = START) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


class World:
    """What a test does, in its own words. Every call is one transaction at the clock's time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = FakeClock()
        self.up_since = self.clock.now() - 86_400
        self._names = (f"agent-{number}" for number in itertools.count(1))

    def write(self, work: Callable[[Session, float], T]) -> T:
        with self.database.write() as session:
            return work(session, self.clock.now())

    def read(self, work: Callable[[Session, float], T]) -> T:
        with self.database.read() as session:
            return work(session, self.clock.now())

    def agent(
        self, pool: str = "default", *, features: tuple[str, ...] = EXTENSIONS, name: str = "", **said: Any
    ) -> str:
        """A registered agent; `said` adds to its registration. Its key is not a working one."""

        def work(session: Session, now: float) -> str:
            row = agents.create(
                session, now, name=name or next(self._names), key=keys.new_agent_key(), key_hash="x", pool_id=pool
            )
            return row.id

        agent_id = self.write(work)
        self.register(agent_id, features=list(features) or None, **said)
        return agent_id

    def base_agent(self, pool: str = "default", **said: Any) -> str:
        return self.agent(pool, features=(), **said)

    def register(self, agent_id: str, **said: Any) -> None:
        request = RegisterRequest(
            hostname="h", agent_name="n", version="1", platform="Linux", architecture="x86_64", **said
        )
        self.write(lambda s, now: agent_link.register(s, now, agent_id, request, self.up_since))

    def heartbeat(
        self, agent_id: str, status: Any = "online", running: list[dict[str, Any]] | None = None, **more: Any
    ) -> None:
        body = {"agentId": agent_id, "status": status, "jobsExecuted": 0, "jobsFailed": 0, "uptimeSeconds": 1}
        body |= {"version": "1", "systemMetrics": {}, "runningJobs": running, **more}
        beat = HeartbeatRequest.model_validate(body)
        kept = beat.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.write(lambda s, now: agent_link.heartbeat(s, now, agent_id, beat, figures=kept))

    def submit(self, action: str = "script.bash", **asked: Any) -> str:
        new = jobs.NewJob(
            **{"action_type": action, "params": {"script": "true"}, "created_by": "tok_test", "pool_id": None, **asked}
        )
        self.clock.sleep(0.001)  # jobs of one instant have no order
        return self.write(lambda s, now: jobs.submit(s, now, new)[0].id)

    def poll_all(self, slots: dict[str, int], pool: str = "default") -> dict[str, list[dict[str, Any]]]:
        return self.write(lambda s, now: claims.hand_out(s, now, pool, slots)).jobs

    def poll(self, agent_id: str, slots: int = 1, pool: str = "default") -> list[dict[str, Any]]:
        return self.poll_all({agent_id: slots}, pool).get(agent_id, [])

    def audited(self, target: str) -> list[dict[str, Any]]:
        """What was recorded of a job or an agent, oldest first."""
        rows = self.read(lambda s, _now: audit.list_rows(s, target=target, action=None, before=None, limit=500))
        return [audit.view(row) for row in reversed(rows)]

    def ack(self, agent_id: str, *items: tuple[str, int] | dict[str, Any], instance: str | None = None) -> AckData:
        pairs = [(i["jobId"], i["attempt"]) if isinstance(i, dict) else i for i in items]
        asked = [AckItem(job_id=job_id, attempt=attempt) for job_id, attempt in pairs]
        return self.write(lambda s, now: acks.acknowledge(s, now, agent_id, asked, instance=instance))

    def report(self, agent_id: str, *results: Any, features: tuple[str, ...] = EXTENSIONS) -> list[Receipt]:
        identity = AgentIdentity(agent_id, "default", features)
        return self.write(lambda s, now: reports.report(s, now, identity, list(results)))

    def take(self, agent_id: str) -> dict[str, Any]:
        """Poll and acknowledge one job."""
        (job,) = self.poll(agent_id)
        assert self.ack(agent_id, job).refused == []
        return job

    def sweep(self) -> int:
        due = self.read(lambda s, now: sweep.is_due(s, now, self.up_since))
        changed = self.write(lambda s, now: sweep.sweep(s, now, self.up_since))
        assert due == (changed > 0)
        return changed

    def state(self, job_id: str) -> str:
        return self.job(job_id)["status"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.read(lambda s, now: job_view.detail(s, jobs.get(s, job_id), now))

    def row(self, kind: type[T], key: Any) -> T:
        found = self.read(lambda s, _now: s.get(kind, key))
        assert found is not None
        return found


def result(job: dict[str, Any] | str, status: str = "success", **more: Any) -> dict[str, Any]:
    """A result as an agent sends it; with `attempt` when the job has one."""
    told = {"jobId": job} if isinstance(job, str) else {k: job[k] for k in ("jobId", "attempt") if k in job}
    base = {
        "status": status,
        "output": {"n": 1},
        "error": None,
        "exitCode": 0 if status == "success" else 1,
        "durationMs": 7,
    }
    return {**told, **base, **more}


REFUSAL = {"status": "error", "output": None, "error": "duplicate", "exitCode": -1, "durationMs": 0}
__all__ = ["EXTENSIONS", "REFUSAL", "START", "Agent", "Attempt", "FakeClock", "Job", "World", "result"]
