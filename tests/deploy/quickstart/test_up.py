"""The quick start with the real programs: one control plane, one agent, real jobs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.quickstart.home import Home
from deploy.quickstart.operator import Operator
from deploy.quickstart.record import Record
from tests.support.ports import free_port
from tests.support.require import require_program
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


class QuickStart:
    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self.environment = {**os.environ, "EASYALERT_HOME": str(folder)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-I", "-m", "deploy.quickstart", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, check=False, timeout=100
        )

    @property
    def record(self) -> Record | None:
        return Record.read(self.home.running)

    def operator(self) -> Operator:
        return Operator(f"http://127.0.0.1:{self.record.port}", self.home.operator_token.read_text())


@pytest.fixture
def quick_start(short_dir):
    require_program("redis-server", "valkey-server", package="redis-server")
    start = QuickStart(short_dir / "home")
    yield start
    start.run("down")


@pytest.mark.system
def test_detached_then_stopped_then_started_again_with_all_its_state(quick_start):
    port = free_port()
    first = quick_start.run("up", "--detach", "--port", str(port))
    assert first.returncode == 0, first.stdout + first.stderr
    for part in (f"http://127.0.0.1:{port}", "system.storeCredential", "Hello from", "started", "result seen here"):
        assert part in first.stdout
    assert f"EASYALERT_HOME='{quick_start.home.path}' scripts/down" in first.stdout
    record, agent = quick_start.record, quick_start.home.agent_identity.read_text()
    assert record.whole

    key = json.loads(agent)["key"]
    for process in (record.agent, record.controlplane):
        assert key.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    logs = "".join(file.read_text() for file in (quick_start.home.path / "logs").iterdir())
    assert key not in first.stdout + first.stderr + logs

    again = quick_start.run("up", "--detach")
    assert (again.returncode, quick_start.record) == (0, record)
    assert "Already running" in again.stdout

    stopped = quick_start.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert not record.alive

    second = quick_start.run("up", "--detach")
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"http://127.0.0.1:{port}" in second.stdout
    assert "storeCredential" not in second.stdout  # the vault still has it: connection.test succeeds
    assert quick_start.home.agent_identity.read_text() == agent
    with quick_start.operator() as operator:
        assert len(operator.history()) == 5


@pytest.mark.system
def test_ctrl_c_lets_the_running_job_finish_and_stops_everything(quick_start, tmp_path_factory):
    started = tmp_path_factory.mktemp("seen") / "started"  # not at home: scripts see nothing of it
    with subprocess.Popen(
        quick_start.command("up", "--port", str(free_port())),
        env=quick_start.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Live status" in line:
                break
        record = quick_start.record
        agent_id = json.loads(quick_start.home.agent_identity.read_text())["id"]
        with quick_start.operator() as operator:
            job = operator.submit("script.bash", agent_id, {"script": f"touch {started}; sleep 2; echo finished"})
            # an accepted job that has not started yet would rightly wait for the next start of the agent
            eventually(started.exists, what="the job's start")
            process.send_signal(signal.SIGINT)
            done = operator.wait(job, 20)
        assert (done["status"], done["result"]["output"]["stdout"]) == ("success", "finished\n")
        rest = process.stdout.read()
        assert process.wait(60) == 0, "".join(lines) + rest
    assert "Stopped." in rest
    assert not record.alive
    assert quick_start.record is None


@pytest.mark.system
def test_a_port_in_use_starts_nothing(quick_start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        refused = quick_start.run("up", "--detach", "--port", str(port))
    assert refused.returncode == 2
    assert f"Port {port} is in use" in refused.stderr
    assert quick_start.record is None


@pytest.mark.system
def test_an_agent_that_died_is_started_again(quick_start):
    assert quick_start.run("up", "--detach", "--port", str(free_port())).returncode == 0
    before = quick_start.record
    os.kill(before.agent.pid, signal.SIGKILL)
    eventually(lambda: not before.agent.alive())
    again = quick_start.run("up", "--detach")
    assert again.returncode == 0, again.stdout + again.stderr
    assert quick_start.record.whole
    assert not before.controlplane.alive()
