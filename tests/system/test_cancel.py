"""Cancel, drain and pause through the whole product."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.stack import BIN, Stack, running_stack
from tests.support.waiting import eventually
from tests.workers.chain import gone, pid_in

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack():
    # without isolation, because a script in namespaces of its own does not know its pid out here
    with running_stack(MAX_CONCURRENT_JOBS="1", CANCEL_GRACE_SECONDS="2", SCRIPT_ISOLATION="none") as running:
        eventually(lambda: running.control_plane.agent(running.agent_id)["status"] == "online", within=60)
        yield running


def begin(stack: Stack, tmp_path: Path, script: str = "sleep 30") -> tuple[str, int]:
    """A job that runs, and its script's pid. The agent has no free slot then."""
    file = tmp_path / "pid"
    job_id = stack.control_plane.submit("script.bash", {"script": f"echo begun; echo $$ > {file}; {script}"})
    return job_id, pid_in(file)


def command(stack: Stack, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "easyalert-agent"), *words],
        env=stack.agent.environment, capture_output=True, text=True, check=False, cwd=stack.agent.folder, timeout=30,
    )  # fmt: skip


def test_a_busy_agent_hears_at_once_and_the_tree_is_gone(stack, tmp_path):
    plane = stack.control_plane
    job_id, pid = begin(stack, tmp_path, "trap 'echo obeyed; exit 0' TERM; while :; do sleep 0.05; done")
    answer = plane.api.post(f"/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    eventually(lambda: gone(pid), what="the script gone, before a long poll's end")
    job = plane.wait(job_id)
    assert job["status"] == "cancelled"
    assert job["cancelRequested"]["by"].startswith("tests (tok_")
    assert "tests (tok_" in job["statusReason"]
    assert job["result"]["output"]["stdout"] == "begun\nobeyed\n", "asked first, and not killed"
    assert job["result"]["error"].startswith("cancelled")
    assert job["result"]["exitCode"] == -1
    assert plane.api.post(f"/jobs/{job_id}/cancel").status_code == 200


def test_a_job_that_ignores_the_signal_is_killed_after_its_grace(stack, tmp_path):
    job_id, pid = begin(stack, tmp_path, "trap '' TERM; for i in $(seq 200); do sleep 0.1; done")
    asked = time.monotonic()
    stack.control_plane.api.post(f"/jobs/{job_id}/cancel")
    eventually(lambda: gone(pid), within=20, what="the script gone, before it ends by itself")
    assert time.monotonic() - asked > 1.9
    assert stack.control_plane.wait(job_id)["status"] == "cancelled"


def test_a_request_survives_the_death_of_the_control_plane(stack, tmp_path):
    plane = stack.control_plane
    job_id, pid = begin(stack, tmp_path)
    stack.agent.kill("poller")  # it cannot hear now: the request has to wait in the control plane
    assert plane.api.post(f"/jobs/{job_id}/cancel").status_code == 202
    plane.stop(9)
    plane.start()
    assert plane.wait(job_id, timeout=60)["status"] == "cancelled"
    assert gone(pid)


def test_a_job_is_cancelled_from_its_agents_machine(stack, tmp_path):
    job_id, pid = begin(stack, tmp_path)
    done = command(stack, "jobs", "cancel", job_id)
    assert done.returncode == 0, done.stderr
    job = stack.control_plane.wait(job_id)
    assert job["status"] == "cancelled"
    assert "on the agent's machine" in job["result"]["error"]
    assert job["cancelRequested"] is None
    assert gone(pid)


def test_races_with_the_end_come_out_as_one_of_the_two_on_both_sides(stack, tmp_path):
    plane = stack.control_plane
    record = tmp_path / "done"
    for number in range(12):
        job_id = plane.submit("script.bash", {"script": f"sleep 0.0{number % 10}; echo {number} >> {record}"})
        time.sleep(0.01 * number)
        plane.api.post(f"/jobs/{job_id}/cancel")
        job = plane.wait(job_id)
        assert job["status"] in {"success", "cancelled"}
        rows = json.loads(command(stack, "jobs", job_id, "--json").stdout)
        assert len(rows) <= 1
        if rows:
            assert (rows[0]["status"] == "success") == (job["status"] == "success")
        lines = record.read_text().split() if record.exists() else []
        if job["status"] == "success":
            assert lines.count(str(number)) == 1


def test_a_drained_agent_finishes_and_says_so(stack, tmp_path):
    plane = stack.control_plane
    job_id, _ = begin(stack, tmp_path, f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
    plane.api.post(f"/agents/{stack.agent_id}/drain", json={"reason": "the host is moved"})
    waiting = plane.submit("script.bash", {"script": "true"})

    def status() -> str:
        return command(stack, "status").stdout

    eventually(lambda: "draining by the control plane (the host is moved)" in status(), within=60)
    with stack.agent.admin as admin:
        assert admin.get("/status").json()["data"]["pause"]["kind"] == "draining"
    (tmp_path / "go").touch()
    assert plane.wait(job_id)["status"] == "success"
    assert plane.job(waiting)["status"] == "pending"
    assert plane.api.post(f"/agents/{stack.agent_id}/enable").status_code == 200
    assert plane.wait(waiting)["status"] == "success"
    eventually(lambda: "draining" not in status())


def test_a_paused_agent_starts_nothing_over_a_restart_of_its_programs(stack, tmp_path):
    plane = stack.control_plane
    assert command(stack, "pause", "--reason", "disk is replaced", "--for", "1h").returncode == 0
    eventually(lambda: plane.agent(stack.agent_id)["paused"], within=60, what="the control plane knows")
    found = plane.agent(stack.agent_id)
    assert found["paused"]["reason"] == "disk is replaced"
    eventually(lambda: plane.agent(stack.agent_id)["status"] == "online", what="paused, and yet not degraded")
    waiting = plane.submit("script.bash", {"script": "true"})
    stack.agent.kill("poller")
    time.sleep(2)
    assert plane.job(waiting)["status"] == "pending"
    assert "paused where it runs" in plane.job(waiting)["why"]["sentence"]
    assert command(stack, "resume").returncode == 0
    assert plane.wait(waiting)["status"] == "success"
