"""The judge: takes what was seen of a run and says which promises were broken. Pure; it starts and asks nothing."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.nemesis import Kind
from chaos.recorder import Mark, printed_by

FINAL: Final = frozenset({"success", "error", "timed_out", "cancelled", "in_doubt", "expired"})
_MAY_BECOME_TRUE: Final = "in_doubt"
_SPREADS_MS: Final = 1_000
"""A death spreads: supervisor, pool, worker; a job may still begin on the way."""
_SIGKILL: Final = int(signal.SIGKILL)
_SHOWN: Final = 20
"""More violations than this are counted, not listed."""


@dataclass(frozen=True)
class JobSeen:
    """A job as the control plane tells it when all is over."""

    number: int
    job_id: str
    status: str
    idempotent: bool = False
    error: str | None = None
    cancel: int | None = None
    """How the control plane answered the request to cancel it: 200 or 202; 409: it was over. None: nobody asked."""
    printed: str | None = None
    """Standard output in its result; None: not looked at."""
    live: str | None = None
    """Standard output as it came while it ran, gaps marked."""
    live_complete: bool = False


@dataclass(frozen=True)
class RowSeen:
    """A row of an agent's journal when all is over. Times in milliseconds since boot, by the agent's clock."""

    agent: str
    job_id: str
    state: str
    outcome: str | None
    success: bool
    started_ms: int | None
    finished_ms: int | None


@dataclass(frozen=True)
class Strike:
    """A fault as it was done. Times by the agent's clock, as rows; `hit` is empty when there was nothing to hit."""

    begun_ms: int
    ended_ms: int
    kind: Kind
    agent: str
    program: str = ""
    hit: tuple[int, ...] = ()

    @property
    def cuts(self) -> bool:
        """Whether it may end a job in its midst."""
        if not self.hit:
            return False
        return self.kind in {"kill_worker", "kill_supervisor", "kill_agent"} or (
            self.kind == "kill_program" and self.program == "workers"
        )


@dataclass(frozen=True)
class Counters:
    """One agent's totals: as its journal keeps them and as its last heartbeat told them."""

    agent: str
    executed: int
    failed: int
    told_executed: int | None
    told_failed: int | None


@dataclass
class History:
    """Everything that was seen."""

    cap: int
    jobs: list[JobSeen]
    marks: list[Mark]
    submitted: int
    rows: list[RowSeen] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    counters: list[Counters] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    """Agent → most jobs alive at one instant, as their open connections showed."""
    finals: list[tuple[str, str]] = field(default_factory=list)
    """(job id, final state) as looked up from time to time, oldest first."""
    late: list[str] = field(default_factory=list)
    """Ids of jobs that were not final within the bound after the faults had stopped."""
    exits: dict[str, list[int]] = field(default_factory=dict)
    """Agent → exit codes of its runs, oldest first; the last one is that of the stop at the end."""
    leftovers: list[str] = field(default_factory=list)
    """Sentences: processes, files, Redis keys that are still there."""


@dataclass(frozen=True)
class Verdict:
    """`violations` is empty when every promise was kept."""

    violations: list[str]
    figures: dict[str, Any]


def judge(history: History) -> Verdict:
    """Every promise against the whole history."""
    rules = (
        _lost,
        _doubles,
        _false_success,
        _unexpected_ends,
        _printed,
        _changed,
        _capped,
        _doubts,
        _agreement,
        _counted,
        _exits,
    )
    broken = [sentence for rule in rules for sentence in rule(history)] + history.leftovers
    figures = _figures(history) | {"violations": len(broken)}
    if len(broken) > _SHOWN:
        broken = [*broken[:_SHOWN], f"… and {len(broken) - _SHOWN} more"]
    return Verdict(broken, figures)


def _counts(history: History, kind: str) -> Counter[int]:
    return Counter(mark.job for mark in history.marks if mark.kind == kind)


def _lost(history: History) -> Iterator[str]:
    if len(history.jobs) != history.submitted:
        yield f"{history.submitted - len(history.jobs)} submitted jobs are unknown to the control plane"
    for job in history.jobs:
        if job.status not in FINAL:
            yield f"lost: job {job.number} ({job.job_id}) is still {job.status}"
    for job_id in history.late:
        yield f"late: job {job_id} was not final within its bound after the faults had stopped"


def _doubles(history: History) -> Iterator[str]:
    repeatable = {job.number for job in history.jobs if job.idempotent}
    for number, times in _counts(history, "start").items():
        if times > 1 and number not in repeatable:
            yield f"double effect: job {number} started {times} times and is not idempotent"


def _false_success(history: History) -> Iterator[str]:
    started, ended = _counts(history, "start"), _counts(history, "end")
    for job in history.jobs:
        if job.status == "success" and not (started[job.number] and ended[job.number]):
            yield f"false success: job {job.number} has {started[job.number]} starts and {ended[job.number]} ends"


def _unexpected_ends(history: History) -> Iterator[str]:
    started = _counts(history, "start")
    poison = 3
    for job in history.jobs:
        if job.status == "cancelled" and job.cancel in {200, 202}:
            continue
        if job.status in FINAL - {"success", "in_doubt", "error"}:
            yield f"job {job.number} ended as {job.status}: {job.error}"
        elif job.status == "error" and not (
            # honest answers of an agent: three workers died on a repeatable job; it could not even write the script
            (job.idempotent and (job.error or "").startswith("poison") and started[job.number] <= poison)
            or ("cannot write" in (job.error or "") and not started[job.number])
        ):
            yield f"job {job.number} ended as error: {job.error}"


def _printed(history: History) -> Iterator[str]:
    """A success has printed all it prints, in its result and live; a full disk may cost the live part, and says so."""
    full = {strike.agent for strike in history.strikes if strike.kind == "fill_disk" and strike.hit}
    agents = {mark.job: mark.agent for mark in history.marks}
    for job in history.jobs:
        if job.status != "success" or job.printed is None:
            continue
        expected = printed_by(job.number)
        if job.printed != expected:
            yield f"output: the result of job {job.number} ({job.job_id}) holds {job.printed!r}"
        # a repeated run's live output follows that of the run that was cut
        whole = (job.live or "").endswith(expected) if job.idempotent else job.live == expected
        if not job.live_complete or (not whole and agents.get(job.number) not in full):
            end = "complete" if job.live_complete else "not complete"
            yield f"live output of job {job.number} ({job.job_id}) is {job.live!r}, {end}"


def _changed(history: History) -> Iterator[str]:
    last: dict[str, str] = {}
    for job_id, state in [*history.finals, *((job.job_id, job.status) for job in history.jobs)]:
        before = last.setdefault(job_id, state)
        if before not in {state, _MAY_BECOME_TRUE}:
            yield f"two results: job {job_id} was {before}, then {state}"
        last[job_id] = state


def _capped(history: History) -> Iterator[str]:
    peaks = _peaks(history)
    for agent, peak in peaks.items():
        if peak > history.cap:
            yield f"cap: {peak} jobs ran at once on agent {agent}, {history.cap} are allowed"


def _peaks(history: History) -> dict[str, int]:
    """Both witnesses: open connections, and pairs of marks of one run. At equal times ends come first."""
    peaks = dict(history.peaks)
    moments: dict[str, list[tuple[float, int]]] = defaultdict(list)
    starts: dict[tuple[int, str], list[float]] = defaultdict(list)
    for mark in history.marks:
        if mark.kind == "start":
            starts[mark.job, mark.agent].append(mark.at)
        elif began := starts[mark.job, mark.agent]:
            moments[mark.agent] += [(began.pop(), 1), (mark.at, -1)]
    for agent, changes in moments.items():
        running = 0
        for _, change in sorted(changes):
            running += change
            peaks[agent] = max(peaks.get(agent, 0), running)
    return peaks


def _doubts(history: History) -> Iterator[str]:
    """`in_doubt` needs a job that had started, and a kill between its start and its end that can have cut it."""
    rows = {row.job_id: row for row in history.rows if row.outcome == "in_doubt"}
    causes = causes_of(rows.values(), history.strikes, history.cap)
    for job in history.jobs:
        if job.status != "in_doubt":
            continue
        if job.job_id not in rows:
            yield f"in doubt without a reason: job {job.number} ({job.job_id}); no agent says so"
        elif job.job_id not in causes:
            yield f"in doubt without a reason: job {job.number} ({job.job_id}); nothing was killed while it ran"


def causes_of(rows: Iterable[RowSeen], strikes: Iterable[Strike], cap: int) -> dict[str, Strike]:
    """Job id → the fault that cut it. The death of one worker cuts one job, any other at most `cap`.

    Whoever ended first is given the first fault that fits: if any way explains all of them, this one does.
    """
    causes: dict[str, Strike] = {}
    waiting = sorted((row for row in rows if row.started_ms and row.finished_ms), key=lambda row: row.finished_ms or 0)
    for strike in sorted((strike for strike in strikes if strike.cuts), key=lambda strike: strike.ended_ms):
        fitting = [row for row in waiting if _fits(strike, row)]
        for row in fitting[: 1 if strike.kind == "kill_worker" else cap]:
            causes[row.job_id] = strike
            waiting.remove(row)
    return causes


def _fits(strike: Strike, row: RowSeen) -> bool:
    spreads = 0 if strike.kind == "kill_worker" else _SPREADS_MS
    began_in_time = row.started_ms is not None and row.started_ms <= strike.ended_ms + spreads
    return strike.agent == row.agent and began_in_time and strike.begun_ms <= (row.finished_ms or 0)


def _agreement(history: History) -> Iterator[str]:
    """Both sides say the same, and nothing waits any more."""
    by_job: dict[str, list[RowSeen]] = defaultdict(list)
    for row in history.rows:
        by_job[row.job_id].append(row)
        if row.state not in {"acked", "rejected"}:
            yield f"unsettled: job {row.job_id} is still {row.state} in the journal of agent {row.agent}"
        if row.state == "rejected":
            yield f"rejected: agent {row.agent} could not deliver the result of job {row.job_id}"
    if not history.rows:
        return
    for job in history.jobs:
        if job.status == "success" and not any(row.success for row in by_job[job.job_id]):
            yield f"disagreement: job {job.job_id} is a success here and on no agent"
        if job.status != "success" and any(row.success for row in by_job[job.job_id]):
            yield f"disagreement: job {job.job_id} succeeded on an agent and is {job.status} here"


def _counted(history: History) -> Iterator[str]:
    for counters in history.counters:
        ran = [row for row in history.rows if row.agent == counters.agent and _ran(row)]
        rows = (len(ran), sum(not row.success for row in ran))
        kept = (counters.executed, counters.failed)
        told = (counters.told_executed, counters.told_failed)
        if not rows == kept == told:
            yield f"counters of agent {counters.agent} (executed, failed): rows {rows}, journal {kept}, told {told}"


def _ran(row: RowSeen) -> bool:
    """Whether it counts as executed: it ran and ended, or vanished while it ran."""
    return row.outcome in {"finished", "timed_out", "in_doubt"} or (
        row.outcome == "cancelled" and row.started_ms is not None
    )


def _exits(history: History) -> Iterator[str]:
    """An agent ends when it is killed or told to, or does not start on a full disk (2); it never gives up by itself."""
    for agent, codes in history.exits.items():
        full = any(strike.kind == "fill_disk" and strike.agent == agent and strike.hit for strike in history.strikes)
        expected = {-_SIGKILL, 2} if full else {-_SIGKILL}
        if wrong := [code for code in codes[:-1] if code not in expected]:
            yield f"agent {agent} ended by itself with {wrong}"
        if codes and codes[-1] != 0:
            yield f"agent {agent} did not stop in good order: {codes[-1]}"


def _figures(history: History) -> dict[str, Any]:
    started, ended = _counts(history, "start"), _counts(history, "end")
    doubtful = [job for job in history.jobs if job.status == "in_doubt"]
    causes = causes_of((row for row in history.rows if row.outcome == "in_doubt"), history.strikes, history.cap)
    return {
        "jobs": history.submitted,
        "ended": dict(Counter(job.status for job in history.jobs)),
        "lost": sum(1 for _ in _lost(history)),
        "doubleEffects": sum(1 for _ in _doubles(history)),
        "falseSuccess": sum(1 for _ in _false_success(history)),
        "cancelAnswers": dict(Counter(job.cancel for job in history.jobs if job.cancel is not None)),
        "cancelledWholeEffect": sum(job.status == "cancelled" and bool(ended[job.number]) for job in history.jobs),
        "repeatedIdempotent": sum(job.idempotent and started[job.number] > 1 for job in history.jobs),
        "inDoubt": len(doubtful),
        "inDoubtCauses": dict(
            Counter(causes[job.job_id].kind if job.job_id in causes else "unknown" for job in doubtful)
        ),
        "inDoubtNeverBegun": sum(not started[job.number] for job in doubtful),
        "inDoubtWholeEffect": sum(bool(ended[job.number]) for job in doubtful),
        "mostAtOnce": _peaks(history),
        "cap": history.cap,
        "faults": dict(Counter(strike.kind for strike in history.strikes if strike.hit)),
        "missed": sum(not strike.hit for strike in history.strikes),
    }
