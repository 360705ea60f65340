"""Who gets which job: a pure function over candidates, and the sentence that explains it.

A job goes to the online, enabled agent of its pool with the highest health score; equal scores go to the one with most
free capacity, then to the one that waited longest. An agent without free capacity, or that has no executor for
the job's action, cannot be chosen. Whoever is chosen and is between two polls keeps a short claim on the job
(`HEAD_START_S`); then the next healthiest of those who ask gets it. One that has not asked for a while (`EXPECTED_S`)
is not waited for: it may have died without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from controlplane.services.health import Status

HEAD_START_S = 2.0
EXPECTED_S = 10.0
"""An agent that polled within this time is expected to poll again: twice a base agent's default interval."""
BUILT_IN = frozenset({"connection", "system"})
"""Categories every agent handles without an executor (contract 2.8)."""
_TABLE_ROWS = 20


@dataclass
class Candidate:
    """An agent of the pool as dispatch sees it. `free` goes down as jobs are assigned."""

    agent_id: str
    name: str
    status: Status
    score: float
    free: int
    capacity: int
    waiting_since: float
    """When it last got a job; 0 for never. The smaller, the longer it has waited."""
    polling: bool
    expected: bool = False
    """It polled a moment ago."""
    blocked: str | None = None
    """`disabled…` or `draining…`: receives no new jobs."""
    capabilities: frozenset[str] | None = None
    """Kinds of executors; None when it did not say."""
    silent: str = ""
    """Since when an offline one is silent, for people."""

    def obstacle(self, category: str) -> str | None:
        """Why it cannot take a job of this category now, or None."""
        if self.status == "offline":
            return f"offline{self.silent}"
        if self.blocked:
            return self.blocked
        if not self.can_do(category):
            return f"lacks capability {category}"
        if self.free <= 0:
            return f"busy {self.capacity}/{self.capacity}"
        return None

    def can_do(self, category: str) -> bool:
        """Whether it has an executor for the category, or needs none."""
        return self.capabilities is None or category in self.capabilities or category in BUILT_IN

    def rank(self) -> tuple[float, int, float]:
        """Greater is better."""
        return (self.score, self.free, -self.waiting_since)


@dataclass(frozen=True)
class Waiting:
    """A job to be given away."""

    job_id: str
    category: str
    available_at: float
    target_agent_id: str | None = None
    had_by: frozenset[str] = frozenset()
    """Agents that may have run it, and are not given it again."""


@dataclass
class Plan:
    """`assigned` job → agent with its reason; `retry_at`: when a head start ends and the plan should be made anew."""

    assigned: list[tuple[Waiting, Candidate, dict[str, Any]]] = field(default_factory=list)
    retry_at: float | None = None


def plan(jobs: Iterable[Waiting], candidates: list[Candidate], now: float) -> Plan:
    """Give the jobs, in their order, to the best of those who are polling.

    `free` of a chosen candidate is used up, also when the job is only kept for it.
    """
    result = Plan()
    for job in jobs:
        eligible = [c for c in _eligible(job, candidates) if c.polling or c.expected]
        able = [c for c in eligible if c.obstacle(job.category) is None]
        if not able:
            continue
        best = max(able, key=Candidate.rank)
        if not best.polling:
            head_start_ends = job.available_at + HEAD_START_S
            polling = [c for c in able if c.polling]
            if now < head_start_ends or not polling:
                best.free -= 1
                if polling:
                    result.retry_at = min(result.retry_at or head_start_ends, head_start_ends)
                continue
            best = max(polling, key=Candidate.rank)
        result.assigned.append((job, best, explain(job, candidates, best)))
        best.free -= 1
    return result


def explain(job: Waiting, candidates: list[Candidate], chosen: Candidate | None = None) -> dict[str, Any]:
    """`{"sentence": …, "candidates": […]}`: why the chosen one got the job, or why it waits."""
    eligible = sorted(_eligible(job, candidates), key=Candidate.rank, reverse=True)
    rows = [_row(job, candidate, chosen) for candidate in eligible]
    return {
        "sentence": _sentence(job, eligible, chosen),
        "candidates": rows[:_TABLE_ROWS],
        "candidatesTotal": len(rows),
    }


def _eligible(job: Waiting, candidates: list[Candidate]) -> list[Candidate]:
    if job.target_agent_id is None:
        return [c for c in candidates if c.agent_id not in job.had_by] if job.had_by else candidates
    return [c for c in candidates if c.agent_id == job.target_agent_id]


def _row(job: Waiting, candidate: Candidate, chosen: Candidate | None) -> dict[str, Any]:
    obstacle = candidate.obstacle(job.category)
    if candidate is chosen:
        verdict = "chosen"
    elif obstacle is not None:
        verdict = obstacle
    elif chosen is None:
        verdict = "able, has not asked for work yet"
    elif candidate.rank() > chosen.rank():
        verdict = "healthier, but did not ask for the job in time"
    elif candidate.score < chosen.score:
        verdict = f"score {candidate.score:g} < {chosen.score:g}"
    elif candidate.free < chosen.free:
        verdict = f"equal score, less free capacity ({candidate.free} < {chosen.free})"
    else:
        verdict = "equal score and capacity, had a job more recently"
    return {
        "agentId": candidate.agent_id,
        "name": candidate.name,
        "status": candidate.status,
        "healthScore": candidate.score,
        "free": max(0, candidate.free),
        "capacity": candidate.capacity,
        "verdict": verdict,
    }


def _sentence(job: Waiting, eligible: list[Candidate], chosen: Candidate | None) -> str:
    if chosen is not None:
        return _why_chosen(job, eligible, chosen)
    if not eligible and job.target_agent_id is not None:
        return "The job is for an agent that no longer exists."
    if not eligible and job.had_by:
        return "Every agent of the pool has had the job; it waits for another one to join."
    if not eligible:
        return "The pool has no agent yet: create one in it, or send the job to another pool."
    able = [c for c in eligible if c.obstacle(job.category) is None]
    if able:
        return f"{able[0].name} is about to be given the job: it takes it with its next poll."
    obstacles = "; ".join(f"{c.name}: {c.obstacle(job.category)}" for c in eligible[:5])
    return f"No agent can take the job now ({obstacles}). It waits until one can."


def _why_chosen(job: Waiting, eligible: list[Candidate], chosen: Candidate) -> str:
    if job.target_agent_id is not None:
        return f"The job is for {chosen.name} alone."
    if len(eligible) == 1:
        return f"{chosen.name} is the only agent of the pool."
    better = sum(c.rank() > chosen.rank() and c.obstacle(job.category) is None for c in eligible)
    if better:
        return f"{chosen.name} (score {chosen.score:g}) asked for work while {better} better placed did not in time."
    return (
        f"{chosen.name} ranked first of the pool's {len(eligible)} agents "
        f"(score {chosen.score:g}, {chosen.free} free, then the longest wait)."
    )
