"""The main job of the product: submitted to the control plane, run on an agent, its result seen."""

from __future__ import annotations

import collections
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.stack import Stack, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def stack():
    with running_stack() as running:
        yield running


def test_a_script_runs_and_its_result_is_seen(stack: Stack):
    job = stack.control_plane.wait(stack.control_plane.submit("script.bash", {"script": "echo hello; echo oops >&2"}))
    assert job["status"] == "success"
    assert job["result"]["output"]["stdout"] == "hello\n"
    assert job["result"]["output"]["stderr"] == "oops\n"
    assert job["result"]["exitCode"] == 0


def test_a_failing_script_is_an_error_with_its_exit_code(stack: Stack):
    job = stack.control_plane.wait(stack.control_plane.submit("script.python", {"script": "import sys; sys.exit(3)"}))
    assert job["status"] == "error"
    assert job["result"]["exitCode"] == 3


def test_a_credential_reaches_the_vault_and_is_seen_by_a_job_but_by_nobody_else(stack: Stack):
    secret = "s3cret-canary-9417"
    plane = stack.control_plane
    stored = plane.wait(
        plane.submit("system.storeCredential", {"connectionId": "web-1", "credentials": {"token": secret, "host": "h"}})
    )
    assert stored["status"] == "success", stored
    tested = plane.wait(plane.submit("connection.test", {}, connectionId="web-1"))
    assert tested["status"] == "success", tested
    assert secret not in str(plane.job(stored["id"]))
    with stack.agent.admin as admin:
        assert "web-1" in admin.get("/connections").json()["data"]
    for file in stack.folder.rglob("*"):
        if file.is_file() and not file.is_socket():
            assert secret.encode() not in file.read_bytes(), file


def test_every_step_of_a_job_has_its_time(stack: Stack):
    job = stack.control_plane.wait(stack.control_plane.submit("script.bash", {"script": "true"}))
    steps = [step["step"] for step in job["timings"]]
    assert steps == ["created", "dispatched", "acknowledged", "started", "finished", "received"]
    moments = [step["ms"] for step in job["timings"]]
    assert moments == sorted(moments)


@pytest.mark.parametrize("program", ["poller", "workers", "heartbeat", "admin", "redis", None])
def test_kill_9_of_each_process_loses_nothing_and_doubles_nothing(program, tmp_path: Path):
    """200 jobs; the process is killed in their midst. `in_doubt` only where the kill really cut a started job."""
    record = tmp_path / "effects"
    with running_stack() as stack:
        plane = stack.control_plane
        ids = [
            plane.submit("script.bash", {"script": f"echo {number} >> {record}; sleep 0.02"}) for number in range(200)
        ]
        eventually(lambda: record.exists() and len(record.read_text().split()) >= 40, within=60, what="40 effects")
        if program is None:  # supervisord itself, then the agent is started again as systemd would
            os.kill(stack.agent.process.pid, signal.SIGKILL)
            stack.agent.process.wait()
            time.sleep(3)
            stack.agent.start()
        else:
            stack.agent.kill(program)
        jobs = [plane.wait(job_id, timeout=120) for job_id in ids]
        effects = collections.Counter(record.read_text().split())
    statuses = collections.Counter(job["status"] for job in jobs)
    assert max(effects.values()) == 1, "an effect ran twice"
    assert statuses["success"] + statuses["in_doubt"] == 200, statuses
    for number, job in enumerate(jobs):
        if job["status"] == "success":
            assert effects[str(number)] == 1
    allowed = 5 if program in {"workers", None} else 0
    assert statuses["in_doubt"] <= allowed, statuses


def test_sigterm_with_a_job_in_flight_delivers_its_result_then_goes_offline(tmp_path: Path):
    with running_stack() as stack:
        plane = stack.control_plane
        started = tmp_path / "started"
        job_id = plane.submit("script.bash", {"script": f"touch {started}; sleep 10; echo finished"})
        eventually(started.exists, within=60, what="the job's start")
        stack.agent.process.send_signal(signal.SIGTERM)
        late = plane.submit("script.bash", {"script": "echo late"})
        assert stack.agent.process.wait(45) == 0
        assert plane.job(job_id)["status"] == "success"
        assert plane.job(job_id)["result"]["output"]["stdout"] == "finished\n"
        assert plane.job(late)["status"] == "pending"
        eventually(lambda: plane.agent(stack.agent_id)["status"] == "offline", what="offline")


def test_nothing_that_runs_dies_before_its_30_seconds_and_what_is_cut_off_then_is_in_doubt(tmp_path: Path):
    record, pulse = tmp_path / "effects", tmp_path / "pulse"
    script = f"echo x >> {record}; while sleep 0.05; do read -r up _ </proc/uptime; echo $up > {pulse}.new; mv {pulse}.new {pulse}; done"
    with running_stack() as stack:
        plane = stack.control_plane
        job_id = plane.submit("script.bash", {"script": script})
        eventually(pulse.exists, within=60, what="the job's pulse")
        asked_at = time.monotonic()
        stack.agent.process.send_signal(signal.SIGTERM)
        assert stack.agent.process.wait(60) == 0
        took = time.monotonic() - asked_at
        lived = float(pulse.read_text()) - asked_at  # both since boot
        assert lived >= 29.8, f"the job was ended {lived:.1f} s after the signal"
        assert took < 40
        assert plane.job(job_id)["status"] == "in_doubt", "its result was delivered before the agent ended"
        assert plane.agent(stack.agent_id)["status"] == "offline"
        stack.agent.start()
        assert plane.wait(plane.submit("script.bash", {"script": "true"}))["status"] == "success"
        assert plane.job(job_id)["status"] == "in_doubt"
        assert record.read_text() == "x\n", "it is not run again"
