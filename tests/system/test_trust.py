"""Policy and signed jobs through the whole product: a real control plane, a real agent, jobs signed on the command line."""

from __future__ import annotations

import base64
import json
import subprocess
import time

import pytest

from tests.support.stack import BIN, ControlPlane, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """The signer's key; beside it the list of trusted ones."""
    file = tmp_path_factory.mktemp("signer") / "ops.key"
    done = command("signing-key", str(file))
    file.with_name("trusted").write_text(done.stdout)
    file.with_name("trusted").chmod(0o600)
    return file


@pytest.fixture(scope="module")
def stack(key):
    with running_stack(
        JOB_SIGNATURES="require",
        JOB_SIGNATURE_KEYS_FILE=str(key.with_name("trusted")),
        JOB_SIGNATURE_AUDIENCE="pool:default",
    ) as running:
        eventually(lambda: running.control_plane.agent(running.agent_id)["status"] == "online", within=60)
        yield running


def command(*words, stdin="", **options):
    done = subprocess.run(
        [str(BIN / "easyalert-agent"), *words], input=stdin, capture_output=True, text=True, check=False, timeout=60, **options
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def on_agent(stack, *words):
    return command(*words, env=stack.agent.environment, cwd=stack.agent.folder)


def signed(key, script, *, to=("--pool", "default"), **job):
    body = {"actionType": "script.bash", "params": {"script": script}, **job}
    done = command("sign-job", "-", "--key", str(key), *to, "--for", "5m", stdin=json.dumps(body))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def send(plane: ControlPlane, body):
    answer = plane.api.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    return plane.wait(answer.json()["data"]["id"])


def policy(stack, text):
    """Put a policy in place, and wait until the agent says so of itself."""
    file = stack.agent.state_dir / "policy.toml"
    new = file.with_name("policy.new")
    new.write_text(text)
    new.chmod(0o600)
    new.replace(file)


def component(stack):
    beat = stack.control_plane.agent(stack.agent_id)
    return json.dumps(beat)


ALLOW = '[[allow]]\nname = "scripts"\nactions = ["script.bash"]\n'


def test_signed_jobs_run_others_are_answered_with_the_reason(stack, key, tmp_path):
    plane = stack.control_plane
    body = signed(key, "echo ünï; exit 0", timeout=60)
    job = send(plane, body)
    assert (job["status"], job["result"]["output"]["stdout"]) == ("success", "ünï\n")
    assert job["id"] == body["signature"]["jobId"]
    assert job["signature"] == body["signature"]

    mark = tmp_path / "mark"
    unsigned = plane.wait(plane.submit("script.bash", {"script": f"touch {mark}"}))
    assert (unsigned["status"], unsigned["result"]["fault"]) == ("error", "job")
    assert "this agent runs signed jobs only: the job is not signed" in unsigned["result"]["error"]
    assert "started" not in {step["step"] for step in unsigned["timings"]}

    forged = signed(key, "true")
    forged["params"]["script"] = f"touch {mark}"
    assert "were changed" in send(plane, forged)["result"]["error"]
    assert not mark.exists()


def test_a_retry_of_a_job_that_ran_needs_a_new_signature(stack, key, tmp_path):
    plane = stack.control_plane
    mark = tmp_path / "mark"
    job = send(plane, signed(key, f"echo x >> {mark}; exit 3"))
    assert (job["status"], job["result"]["exitCode"]) == ("error", 3)
    assert plane.api.post(f"/jobs/{job['id']}/retry").status_code == 200
    again = plane.wait(job["id"])
    assert "the signature was used before" in again["result"]["error"]
    assert mark.read_text() == "x\n"


def test_a_policy_comes_breaks_and_goes_while_the_agent_runs(stack, key, tmp_path):
    plane = stack.control_plane
    policy(stack, ALLOW.replace("script.bash", "http.*"))
    refused = send(plane, signed(key, "true"))
    assert "no [[allow]] rule names the action" in refused["result"]["error"]
    assert f"policy check {stack.agent.state_dir}/policy.toml JOB.json" in refused["result"]["error"]

    job = tmp_path / "job.json"
    job.write_text(json.dumps({"actionType": "script.bash", "params": {"script": "true"}}))
    explained = on_agent(stack, "policy", "check", str(stack.agent.state_dir / "policy.toml"), str(job), "--json")
    assert explained.returncode == 5
    assert json.loads(explained.stdout)["sentence"] in refused["result"]["error"]

    policy(stack, ALLOW)
    assert send(plane, signed(key, "true"))["status"] == "success"

    policy(stack, "no = 1")
    broken = send(plane, signed(key, "true"))
    assert (broken["status"], broken["result"]["fault"]) == ("error", "agent")
    assert "this agent refuses every job: " in broken["result"]["error"]
    eventually(lambda: "broken: every job is refused" in component(stack), within=60, what="the heartbeat says so")
    status = on_agent(stack, "status")
    assert status.returncode == 4
    assert "policy: broken: every job is refused" in status.stdout
    assert "'no' is no key of this file" in stack.agent.log.read_text()

    policy(stack, "dry_run = true\n" + ALLOW)
    dry = send(plane, signed(key, f"touch {tmp_path}/mark"))
    assert dry["result"]["output"]["policy"]["allowed"] is True
    assert not (tmp_path / "mark").exists()

    policy(stack, ALLOW)
    assert send(plane, signed(key, "true"))["status"] == "success"
    eventually(lambda: on_agent(stack, "status").returncode == 0, within=60, what="healthy again")
    shown = on_agent(stack, "policy", "show")
    assert "[[allow]] 'scripts'" in shown.stdout
    assert "signatures: required" in shown.stdout


def test_decisions_are_in_the_agents_record(stack, key):
    """After the jobs above: what was refused, and why; what ran, and by which rule."""
    policy(stack, ALLOW)
    ran = send(stack.control_plane, signed(key, "true"))
    unsigned = stack.control_plane.wait(stack.control_plane.submit("script.bash", {"script": "true"}))

    def entries():
        found = json.loads(on_agent(stack, "audit", "--json").stdout)
        return {(entry["kind"], entry.get("jobId")): entry for entry in found if entry["seq"] is not None}

    eventually(lambda: ("job.ended", unsigned["id"]) in entries(), within=60, what="the jobs in the record")
    assert entries()["job.started", ran["id"]]["policy"] == "allowed by [[allow]] 'scripts'"
    assert entries()["job.refused", unsigned["id"]]["policy"] == "signature: the job is not signed"
    assert ("job.started", unsigned["id"]) not in entries()
    assert on_agent(stack, "audit", "verify").returncode == 0
    for job, kind in ((ran, "job.started"), (ran, "job.ended"), (unsigned, "job.refused")):
        by = entries()[kind, job["id"]]["requestedBy"]
        assert by == f"tests ({job['createdBy']})", "the token that the control plane has let in"
    assert entries()["job.started", ran["id"]]["signature"].startswith("trusted: key ")


def test_the_record_is_held_against_what_the_control_plane_has_seen(stack, key, tmp_path):
    plane = stack.control_plane
    send(plane, signed(key, "true"))
    url = f"{plane.url}/api/v1/agents/{stack.agent_id}/audit-heads"
    token = tmp_path / "token"
    token.write_text(plane.api.headers["Authorization"].removeprefix("Bearer "))
    eventually(lambda: plane.api.get(url).json()["data"]["heads"], within=60, what="a head that was witnessed")
    done = on_agent(stack, "audit", "verify", "--witness", url, "--token-file", str(token))
    assert (done.returncode, "were compared" in done.stdout) == (0, True), done.stdout + done.stderr
    assert plane.agent(stack.agent_id)["auditWarning"] is None


def test_trust_is_withdrawn_from_one_job_to_the_next(stack, key):
    trusted = key.with_name("trusted")
    ours = trusted.read_text()
    trusted.write_text(base64.b64encode(bytes(range(32))).decode() + "\n")
    try:
        assert "is not trusted here" in send(stack.control_plane, signed(key, "true"))["result"]["error"]
    finally:
        trusted.write_text(ours)
    begun = time.monotonic()
    assert send(stack.control_plane, signed(key, "true"))["status"] == "success"
    assert time.monotonic() - begun < 30
