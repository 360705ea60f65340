"""The wall clock is set by an hour, and machines stand still for ten minutes, on either side, around a job.

Each job runs once and ends as it would have; nothing expires, is doubted or is handed out again for the clock's sake.
Agent and control plane each have clocks of their own (`chaos.clock`), the agent's Redis goes by the agent's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from chaos.clock import ClockControl
from easyalert.journal import JobRow, Journal
from tests.support.stack import BIN, Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

HOUR = 3600.0
TEN_MINUTES = 600.0
Side = Literal["agent", "control plane"]


class Site:
    """A control plane and an agent that runs one job at a time, each by its own clocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clocks: dict[Side, ClockControl] = {}
        for side in ("agent", "control plane"):
            place = folder / f"clock-{side[0]}"
            place.mkdir()
            self.clocks[side] = ClockControl(place)
        self.plane = ControlPlane(folder, **self.clocks["control plane"].environment())
        created = self.plane.create_agent("one")
        self.agent_id = str(created.get("agentId") or created["id"])
        place = folder / "one"
        place.mkdir()
        self.agent = Agent(
            place, self.plane.url, created["apiKey"],
            MAX_CONCURRENT_JOBS="1", HEARTBEAT_INTERVAL="1", **self.clocks["agent"].agents_environment(),
        ).start()  # fmt: skip

    def submit(self, name: str, script: str = "", **more: Any) -> str:
        return self.plane.submit("script.bash", {"script": f"echo x >> {self.folder / name}\n{script}"}, **more)

    def submit_held(self, name: str, **more: Any) -> str:
        """Runs until `let_go`."""
        job = self.submit(name, f"while [ ! -e {self.folder / name}-go ]; do sleep 0.05; done; echo kept", **more)
        eventually(lambda: self.effects(name) == 1, within=60, what="the effect of the held job")
        return job

    def let_go(self, name: str) -> None:
        (self.folder / f"{name}-go").touch()

    def effects(self, name: str) -> int:
        file = self.folder / name
        return len(file.read_text().split()) if file.exists() else 0

    def row(self, job_id: str) -> JobRow | None:
        with self.journal() as journal:
            found = journal.find(job_id)
        return found[0] if found else None

    def journal(self) -> Journal:
        return Journal(self.agent.state_dir / "journal.sqlite3")

    def seen(self) -> dict[str, Any]:
        return self.plane.agent(self.agent_id)

    def heard_after(self, times: int = 3) -> None:
        """So many heartbeats later (1 s apart): the control plane has looked for what is due, the agent reconciled."""
        for _ in range(times):
            before = self.seen()["lastSeenAt"]
            eventually(lambda before=before: self.seen()["lastSeenAt"] != before, within=60, what="a heartbeat")

    def ended_well(self, job_id: str, name: str) -> None:
        job = self.plane.wait(job_id, timeout=60)
        assert (job["status"], job["attempt"]) == ("success", 1), job
        assert [attempt["end"] for attempt in job["attempts"]] == ["success"]
        assert self.effects(name) == 1

    def all_is_well(self) -> None:
        eventually(lambda: self.seen()["status"] == "online", within=60, what="the agent is online")
        with self.journal() as journal:
            figures = journal.figures()
        assert (figures.rejected, figures.failed) == (0, 0)

    @contextlib.contextmanager
    def frozen(self, side: Side) -> Iterator[None]:
        """Every process of that side stands still."""
        process = self.agent.process if side == "agent" else self.plane.process
        assert process is not None
        root = psutil.Process(process.pid)
        family = [root, *root.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.suspend()
        try:
            yield
        finally:
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.resume()

    def stop(self) -> None:
        try:
            self.agent.stop()
        finally:
            self.plane.stop()
            self.plane.api.close()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("side", ["agent", "control plane"])
def test_the_wall_clock_is_set(site: Site, side: Side, step: float):
    """Before a job (the waiting one), during one, after one, and each clock is set while the other stays."""
    name = f"{side[0]}{step:+.0f}"
    done = site.submit(f"done{name}")
    site.ended_well(done, f"done{name}")
    running = site.submit_held(f"running{name}")
    waiting = site.submit(f"waiting{name}")
    site.clocks[side].step_wall(step)
    site.heard_after()
    assert site.plane.job(running)["status"] == "running"
    assert site.plane.job(waiting)["status"] == "pending"
    row = site.row(done)
    assert row is not None, "what has run is not forgotten"
    site.let_go(f"running{name}")
    site.ended_well(running, f"running{name}")
    site.ended_well(waiting, f"waiting{name}")
    site.ended_well(site.submit(f"new{name}"), f"new{name}")
    assert site.plane.job(done)["attempt"] == 1
    site.all_is_well()


@pytest.mark.parametrize("step", [HOUR, -HOUR, 48 * HOUR, -48 * HOUR])
def test_the_clock_is_set_while_the_control_plane_is_away(site: Site, step: float):
    """It starts from the new time: no lease, queue age or silence may be an hour older or younger for it."""
    name = f"r{step:+.0f}"
    running = site.submit_held(f"running{name}", timeout=900)
    waiting = site.submit(f"waiting{name}")
    site.heard_after(1)
    assert site.plane.stop() == 0
    site.clocks["control plane"].step_wall(step)
    site.plane.start()
    site.heard_after()
    assert site.plane.job(running)["status"] == "running"
    assert site.plane.job(waiting)["status"] == "pending"
    site.let_go(f"running{name}")
    site.ended_well(running, f"running{name}")
    site.ended_well(waiting, f"waiting{name}")
    site.all_is_well()


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_the_clock_is_set_while_the_agent_is_away(site: Site, step: float):
    name = f"away{step:+.0f}"
    job = site.submit(f"waiting{name}") if site.agent.stop() == 0 else ""
    site.clocks["agent"].step_wall(step)
    site.agent.start()
    site.ended_well(job, f"waiting{name}")
    site.all_is_well()


@pytest.mark.parametrize("how", ["pause", "jump"])
@pytest.mark.parametrize("side", ["agent", "control plane"])
def test_a_machine_stands_still_for_ten_minutes(site: Site, side: Side, how: str):
    """Suspended (CLOCK_MONOTONIC stands still too) or stopped, as `docker pause` does (it goes on)."""
    name = f"{side[0]}{how}"
    # short on the control plane, where the silence of its agent (10 min) is what could be held against the job
    running = site.submit_held(f"running{name}", timeout=3600 if side == "agent" else 120)
    waiting = site.submit(f"waiting{name}")
    site.heard_after(1)
    with site.frozen(side):
        getattr(site.clocks[side], how)(TEN_MINUTES)
    site.heard_after()
    assert site.plane.job(running)["status"] == "running"
    assert site.plane.job(waiting)["status"] == "pending"
    site.let_go(f"running{name}")
    site.ended_well(running, f"running{name}")
    site.ended_well(waiting, f"waiting{name}")
    site.all_is_well()


def test_a_suspended_machine_does_not_use_up_a_running_jobs_time(site: Site):
    running = site.submit_held("short", timeout=60)
    with site.frozen("agent"):
        site.clocks["agent"].pause(TEN_MINUTES)
    site.let_go("short")
    site.ended_well(running, "short")


@contextlib.contextmanager
def no_workers(site: Site) -> Iterator[None]:
    """What is taken waits in the agent: its workers stand still."""
    pool = psutil.Process(site.agent.programs()["workers"])
    members = [pool, *pool.children(recursive=True)]
    for member in members:
        os.kill(member.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in members:
            os.kill(member.pid, signal.SIGCONT)


def queued(site: Site, job: str) -> None:
    def is_queued() -> bool:
        row = site.row(job)
        return row is not None and row.state == "queued"

    eventually(is_queued, within=60, what="the job waits in the agent")
    eventually(lambda: site.plane.job(job)["status"] == "accepted", within=60, what="it is acknowledged")


def test_a_job_that_waits_in_the_agent_while_it_is_suspended_runs_once(site: Site):
    with no_workers(site):
        job = site.submit("inside")
        queued(site, job)
        with site.frozen("agent"):
            site.clocks["agent"].pause(TEN_MINUTES)
    site.ended_well(job, "inside")
    site.all_is_well()


def test_a_pause_has_its_end_by_the_agents_own_wall_clock(site: Site):
    """As documented: whoever sets that clock moves the end."""

    def command(*words: str) -> str:
        done = subprocess.run(
            [str(BIN / "easyalert-agent"), *words], env=site.agent.environment, cwd=site.agent.folder,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    command("pause", "--for", "30m", "--reason", "disk is replaced")
    eventually(lambda: site.seen()["paused"], within=60, what="the control plane knows of the pause")
    job = site.submit("paused")
    site.heard_after()
    assert site.effects("paused") == 0
    site.clocks["agent"].step_wall(HOUR)
    site.ended_well(job, "paused")
    eventually(lambda: not site.seen()["paused"], within=60, what="the control plane knows of its end")


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_stop_gives_running_jobs_their_time_whatever_is_done_to_the_clock(site: Site, step: float):
    name = f"stopping{step:+.0f}"
    running = site.submit(name, "sleep 5; echo finished")
    eventually(lambda: site.effects(name) == 1, within=60, what="the job runs")
    assert site.agent.process is not None
    site.agent.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping; 1 running" in site.agent.log.read_text(), what="the stop has begun")
    site.clocks["agent"].step_wall(step)
    assert site.agent.process.wait(60) == 0
    site.ended_well(running, name)
    site.agent.start()
    site.all_is_well()


def test_a_job_that_waited_past_its_start_deadline_is_expired_and_never_runs(site: Site):
    """The last test: this one leaves a failure in the figures."""
    with no_workers(site):
        job = site.submit("late")
        queued(site, job)
        with site.frozen("agent"):
            site.clocks["agent"].pause(2 * TEN_MINUTES)
    assert site.plane.wait(job, timeout=60)["status"] == "expired"
    assert site.effects("late") == 0
