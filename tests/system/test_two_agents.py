"""Two real agents on one key, as after copying a configuration: one works, the other says why it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import lock
from controlplane.clock import SystemClock
from controlplane.models.engine import Database
from controlplane.models.migrate import migrate
from easyalert.journal import Journal
from easyalert.protocol.limits import OFFLINE_AFTER_S
from tests.controlplane.live import LiveService
from tests.support.stack import BIN, Agent
from tests.support.waiting import eventually
from tests.workers.chain import gone

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TAKE_OVER_S = 10.0
"""The agent's longest pause between two questions (poller.registration)."""
SLACK_S = 10.0
"""A busy machine, and the job itself."""


class Hurried(SystemClock):
    """Real time, and jumps over what nobody wants to wait for."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Site:
    """A control plane whose clock can be put forward, one key, and agents that have it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Hurried()
        database = Database(f"sqlite:///{folder / 'cp.sqlite3'}")
        migrate(database)
        self.service = LiveService(database, self.clock)
        self.agent_id, self.key = self.service.agent_key()
        self.agents: dict[str, Agent] = {}

    def start(self, name: str) -> Agent:
        if name not in self.agents:
            folder = self.folder / name
            folder.mkdir()
            self.agents[name] = Agent(folder, self.service.url, self.key)
        return self.agents[name].start()

    def run(self, count: int = 1, script: str = "true") -> list[str]:
        """Ids of jobs for whoever holds the key."""
        return [self.service.submit(agentId=self.agent_id, params={"script": script}) for _ in range(count)]

    def done(self, ids: list[str], within: float = 30.0) -> None:
        end = time.monotonic() + within
        for job_id in ids:
            job = self.service.job(job_id, wait=max(0.1, end - time.monotonic()))
            assert job["status"] == "success", job

    def ran(self, name: str) -> set[str]:
        """Ids of the jobs this agent has started."""
        with Journal(self.agents[name].state_dir / "journal.sqlite3") as journal:
            return {row.job_id for row in journal.latest(1000) if row.started_ms is not None}

    def status(self, name: str) -> dict[str, Any]:
        agent = self.agents[name]
        done = subprocess.run(
            [str(BIN / "easyalert-agent"), "status", "--json"],
            env=agent.environment, capture_output=True, text=True, check=False, cwd=agent.folder, timeout=30,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.stdout)
        assert found["exitCode"] == done.returncode
        return found

    def says_why(self, name: str) -> dict[str, Any]:
        """Its status, once it says that its key is in use."""
        eventually(lambda: self.status(name).get("keyInUse"), within=30, what=f"{name} says why")
        return self.status(name)

    def refusals(self) -> int:
        rows = self.service.operator.get("/api/v1/audit", params={"target": self.agent_id}).json()["data"]
        return sum(row["action"] == "agent.key_refused" for row in rows)

    def close(self) -> None:
        for agent in self.agents.values():
            if agent.process is not None and agent.process.poll() is None:
                agent.stop()
        self.service.close()
        self.service.database.close()


@pytest.fixture
def site() -> Iterator[Site]:
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as folder:
        found = Site(Path(folder))
        try:
            yield found
        finally:
            found.close()


def test_one_works_the_other_says_why_and_takes_over_when_the_first_has_ended(site: Site):
    site.start("one")
    site.done(site.run())
    site.start("two")
    told = site.says_why("two")
    assert told["exitCode"] == 4
    assert "holds it since" in told["keyInUse"]
    # its programs may still be starting, which it says too
    (problem,) = [each for each in told["problems"] if each["sentence"] == told["keyInUse"]]
    assert "easyalert-controlplane agents create NAME" in problem["next"]
    ids = site.run(20)
    site.done(ids)
    assert set(ids) <= site.ran("one")
    assert site.ran("two") == set()
    assert site.refusals() == 1

    assert site.agents["one"].stop() == 0
    stopped = time.monotonic()
    site.done(site.run(), within=TAKE_OVER_S + SLACK_S)
    assert time.monotonic() - stopped < TAKE_OVER_S + SLACK_S
    assert site.ran("two")
    assert site.status("two")["keyInUse"] is None

    site.start("one")
    site.says_why("one")
    log = site.agents["two"].log.read_text() + site.agents["one"].log.read_text()
    assert log.count("registration: this agent key is in use") == 2, "once for each, not at every retry"

    agent = site.agents["two"]
    pids = [agent.process.pid, *agent.programs().values()]
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none may say goodbye for the others
        for pid in pids:
            os.kill(pid, number)
    agent.process.wait()
    eventually(lambda: all(map(gone, pids)), within=10, what="its programs have ended with it")
    waiting = site.run(3)
    assert {site.service.job(job_id)["status"] for job_id in waiting} == {"pending"}
    site.clock.ahead += OFFLINE_AFTER_S
    site.done(waiting, within=TAKE_OVER_S + SLACK_S)
    assert set(waiting) <= site.ran("one")


def test_one_that_was_cut_off_is_found_out_and_its_result_is_taken(site: Site):
    site.start("one")
    release = site.folder / "release"
    (job_id,) = site.run(script=f"until [ -e {release} ]; do sleep 0.1; done; echo over")
    eventually(lambda: site.service.job(job_id)["status"] == "running", within=30, what="the job runs")
    cut_off = [site.agents["one"].programs()[name] for name in ("poller", "heartbeat")]
    for pid in cut_off:
        os.kill(pid, signal.SIGSTOP)
    try:
        site.clock.ahead += OFFLINE_AFTER_S
        site.start("two")
        site.done(site.run())
        assert len(site.ran("two")) == 1
        release.touch()
    finally:
        for pid in cut_off:
            os.kill(pid, signal.SIGCONT)
    job = site.service.job(job_id, wait=30)
    assert (job["status"], job["attempt"], job["result"]["output"]["stdout"]) == ("success", 1, "over\n")
    site.says_why("one")
    ids = site.run(10)
    site.done(ids)
    assert set(ids) <= site.ran("two")
    assert site.ran("one") == {job_id}


def test_a_restart_after_a_kill_is_not_made_to_wait(site: Site):
    agent = site.start("one")
    site.done(site.run())
    for deleted in ("", "journal.sqlite3*"):
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait()
        if deleted:
            eventually(lambda: not _holds(agent), within=10, what="the lock is free")
            for file in agent.state_dir.glob(deleted):
                file.unlink()
        site.start("one")
        site.done(site.run(), within=20)


def _holds(agent: Agent) -> bool:
    return lock.holder_of(agent.state_dir / "agent.lock") is not None
