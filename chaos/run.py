"""One run: the world comes up, jobs and faults meet, faults end, everything settles, the history is judged."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from chaos import footprint, leftovers
from chaos.checker import Counters, History, JobSeen, RowSeen, Verdict, judge
from chaos.hands import Hands, wait_until
from chaos.load import Load, ask, planned
from chaos.nemesis import Fault, Mix, plan
from chaos.recorder import Recorder
from chaos.world import KeptAgent, World
from easyalert.journal import Journal

_PROGRESS_S: Final = 5.0
_LIVE_WITHIN_S: Final = 10.0
_QUIET_JOBS: Final = 150
_BOUND_S: Final = 120.0
"""A lease (60 s), a restart, and as much again for a busy machine."""
_SLOWEST_PER_S: Final = 2.0
"""What stood in line when the faults stopped gets this pace on top."""
_COUNTERS_WITHIN_S: Final = 30.0
_ROWS: Final = 1_000_000


@dataclass(frozen=True)
class Options:
    """What a run is like."""

    seed: int
    minutes: float
    jobs: int
    agents: int = 2
    cap: int = 5
    mix: Mix = "all"


class Run:
    """Do it with `run`; `say` gets a line now and then."""

    def __init__(self, options: Options, folder: Path, say: Callable[[str], None]) -> None:
        self._options = options
        self._folder = folder
        self._say = say
        self._seconds = options.minutes * 60
        self._began = 0.0
        self._finals: list[tuple[str, str]] = []

    def run(self) -> Verdict:
        """The verdict. Raises AssertionError when the product does not even start."""
        recorder = Recorder(self._folder)
        try:
            world = World(self._folder, agents=self._options.agents, cap=self._options.cap)
            try:
                return self._in(world, recorder)
            finally:
                world.close()
        finally:
            recorder.close()

    def _in(self, world: World, recorder: Recorder) -> Verdict:
        options = self._options
        load = Load(
            world.control_plane.api, recorder, planned(options.seed, options.jobs, self._seconds), f"run-{options.seed}"
        )
        hands = Hands(world)
        before = self._after_quiet_jobs(world)
        self._began = time.monotonic()
        load.start()
        try:
            self._faults(world, load, hands, plan(options.seed, self._seconds, agents=options.agents, mix=options.mix))
        finally:
            hands.heal()
        wait_for_load = time.monotonic() + 60
        while load.busy and time.monotonic() < wait_for_load:
            wait_until(time.monotonic() + 0.2, world.tend)
        load.stop()
        settled_after, late = self._settle(world, load)
        self._say(f"all settled; {2 * _QUIET_JOBS} quiet jobs, to see whether anything has grown")
        after, once_more = self._after_quiet_jobs(world), self._after_quiet_jobs(world)
        history = self._history(world, recorder, load, hands, late)
        history.leftovers += footprint.grown_over_faults(before, after)
        history.leftovers += footprint.grown(after, once_more, footprint.WHILE_QUIET, "while all was quiet")
        figures = {
            "settledAfterSeconds": settled_after,
            "memoryMb": {look.name: _course(look.name, before, after, once_more) for look in after},
            "controlPlaneStartsSeconds": hands.plane_starts_s,
        }
        for kept in world.agents:
            kept.stop()
        history.leftovers += leftovers.of_stopped(world)
        history.exits = {kept.name: kept.exits for kept in world.agents}
        figures["exits"] = {name: dict(Counter(codes)) for name, codes in history.exits.items()}
        self._write_down(history)
        verdict = judge(history)
        return Verdict(verdict.violations + load.refused, {**asdict(options), **verdict.figures, **figures})

    def _faults(self, world: World, load: Load, hands: Hands, faults: list[Fault]) -> None:
        next_word = self._began + _PROGRESS_S
        for fault in faults:
            moment = self._began + fault.at
            while next_word < moment:
                wait_until(next_word, world.tend)
                self._progress(load, hands)
                next_word += _PROGRESS_S
            wait_until(moment, world.tend)
            hands.do(fault)
        wait_until(self._began + self._seconds, world.tend)

    def _progress(self, load: Load, hands: Hands) -> None:
        self._finals += load.finals()
        done = Counter(state for _, state in dict(self._finals).items())
        self._say(
            f"{time.monotonic() - self._began:5.0f} s: {len(load.ids)} submitted, {done.total()} final {dict(done)},"
            f" {sum(bool(strike.hit) for strike in hands.strikes)} faults"
        )

    def _settle(self, world: World, load: Load) -> tuple[float, list[str]]:
        """Wait until all jobs are final; seconds that took, and the ids of those that are not within the bound."""
        began = time.monotonic()
        bound: float | None = None
        self._say("the faults have stopped; waiting for every job to be final")
        while (left := load.unfinished()) != 0:
            if left is not None and bound is None:
                bound = began + _BOUND_S + left / _SLOWEST_PER_S
            if time.monotonic() > (bound or began + _BOUND_S):
                found = ask(world.control_plane.api, "/jobs", status="pending,dispatched,accepted,running", limit=500)
                return round(time.monotonic() - began, 1), [str(job["id"]) for job in found or []]
            wait_until(time.monotonic() + 0.3, world.tend)
        return round(time.monotonic() - began, 1), []

    def _after_quiet_jobs(self, world: World) -> list[footprint.Footprint]:
        """What everything holds after the same work without faults. Raises AssertionError when it does not succeed."""
        plane = world.control_plane
        ids = [plane.submit("script.bash", {"script": "true"}) for _ in range(_QUIET_JOBS)]
        for job_id in ids:
            job = plane.wait(job_id, timeout=_BOUND_S)
            assert job["status"] == "success", f"a quiet job ended as {job['status']}: {job['result']}"
        return footprint.of_all(world)

    # ---- evidence ---------------------------------------------------------------------------------------------------

    def _history(self, world: World, recorder: Recorder, load: Load, hands: Hands, late: list[str]) -> History:
        counters = [self._counters(world, kept) for kept in world.agents]
        left = [sentence for kept in world.agents for sentence in leftovers.of_running(kept, world.cap)]
        if recorder.alive:
            left.append(f"{recorder.alive} jobs are still alive though all are final")
        self._finals += load.finals()
        return History(
            cap=world.cap,
            jobs=self._jobs(world, load),
            marks=recorder.marks(),
            submitted=len(load.ids),
            rows=[row for kept in world.agents for row in _rows(kept)],
            strikes=hands.strikes,
            counters=counters,
            peaks=dict(recorder.peaks),
            finals=self._finals,
            late=late,
            leftovers=left,
        )

    def _jobs(self, world: World, load: Load) -> list[JobSeen]:
        repeatable = {job.number for job in planned(self._options.seed, self._options.jobs, 1) if job.idempotent}
        api = world.control_plane.api
        seen = []
        for number, job_id in load.ids.items():
            job = ask(api, f"/jobs/{job_id}")
            if job is None:
                continue
            result = job["result"] or {}
            seen.append(
                JobSeen(
                    number, job_id, job["status"], number in repeatable,
                    error=result.get("error") or job["statusReason"], cancel=load.cancels.get(number),
                    printed=(result.get("output") or {}).get("stdout", ""), **_live(api, job_id),
                )
            )  # fmt: skip
        return seen

    def _counters(self, world: World, kept: KeptAgent) -> Counters:
        """Heartbeats tell them every 2 s; the last one may be on its way."""
        end = time.monotonic() + _COUNTERS_WITHIN_S
        while True:
            told = (ask(world.control_plane.api, f"/agents/{kept.agent_id}") or {}).get("reported") or {}
            with Journal(kept.agent.state_dir / "journal.sqlite3") as journal:
                figures = journal.figures()
            seen = Counters(
                kept.name, figures.executed, figures.failed, told.get("jobsExecuted"), told.get("jobsFailed")
            )
            agree = (seen.executed, seen.failed) == (seen.told_executed, seen.told_failed)
            if (agree and figures.undelivered == 0) or time.monotonic() > end:
                return seen
            wait_until(time.monotonic() + 0.3, world.tend)

    def _write_down(self, history: History) -> None:
        """Beside the logs, for who looks into a failed run."""
        (self._folder / "history.json").write_text(json.dumps(asdict(history), indent=1))


def _live(api: httpx.Client, job_id: str) -> dict[str, Any]:
    """What came while it ran. The last of it may come after the result."""
    end = time.monotonic() + _LIVE_WITHIN_S
    while True:
        found = ask(api, f"/jobs/{job_id}/output", stream="stdout") or {}
        if found.get("complete") or found.get("status") != "success" or time.monotonic() > end:
            chunks = found.get("chunks") or []
            text = "".join(chunk.get("text", f"[{chunk.get('missingBytes')} bytes]") for chunk in chunks)
            return {"live": text, "live_complete": bool(found.get("complete"))}
        time.sleep(0.05)


def _rows(kept: KeptAgent) -> list[RowSeen]:
    with Journal(kept.agent.state_dir / "journal.sqlite3") as journal:
        return [
            RowSeen(
                kept.name, row.job_id, str(row.state), row.outcome, (row.result or {}).get("status") == "success",
                row.started_ms, row.finished_ms,
            )
            for row in journal.latest(_ROWS)
        ]  # fmt: skip


def _course(name: str, *looks: list[footprint.Footprint]) -> str:
    return " → ".join(str(found.memory_mb) for look in looks for found in look if found.name == name)


def new_folder() -> Path:
    """Short: unix sockets live below it."""
    return Path(tempfile.mkdtemp(prefix="ea-chaos-", dir="/tmp"))


def as_table(verdict: Verdict) -> str:
    """For people."""
    lines = [f"  {name:<22}{_plain(value)}" for name, value in verdict.figures.items()]
    return "\n".join([*lines, *(f"  BROKEN: {sentence}" for sentence in verdict.violations)])


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "-"
    return str(value)
