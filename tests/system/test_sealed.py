"""Sealed delivery through the whole product: a caller's command, a control plane that cannot read, an agent that can."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.stack import BIN, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

CANARY = "c4nary-sealed-7731"


class ProcessList:
    """Reads every process's arguments and environment, again and again, for as long as it is entered."""

    def __init__(self):
        self.seen = set()
        self.rounds = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._end.is_set():
            for place in Path("/proc").glob("[0-9]*"):
                for name in ("cmdline", "environ"):
                    try:
                        if CANARY.encode() in (place / name).read_bytes():
                            self.seen.add((place / "comm").read_text())
                    except OSError:
                        continue
            self.rounds += 1
            self._end.wait(0.05)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


@pytest.fixture(scope="module")
def stack():
    with running_stack(CREDENTIAL_DELIVERY="sealed") as running:
        eventually(
            lambda: "sealed" in shown(running)["features"], within=60, what="the agent's key at the control plane"
        )
        yield running


def shown(stack):
    return stack.control_plane.agent(stack.agent_id)


def on_agent(stack, *words):
    done = subprocess.run(
        [str(BIN / "easyalert-agent"), *words], capture_output=True, text=True, check=False, timeout=60,
        env=stack.agent.environment, cwd=stack.agent.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seal(stack, document, *words):
    """As a caller does elsewhere: nothing of the agent's in the environment, secrets by standard input."""
    token = stack.control_plane.api.headers["Authorization"].removeprefix("Bearer ")
    done = subprocess.run(
        [str(BIN / "easyalert-agent"), "seal", "-", *words], input=json.dumps(document), capture_output=True, text=True,
        check=False, timeout=60, env={"PATH": stack.agent.environment["PATH"], "EASYALERT_TOKEN": token}, cwd="/",
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    return done


def sent(stack, document, *words):
    done = seal(stack, document, "--agent", stack.agent_id, "--url", stack.control_plane.url, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kept(folder):
    """Files in which the canary stands, databases with their logs, Redis's and the agent's log among them."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_socket()]
    names = {file.name for file in files}
    assert {"controlplane.sqlite3", "journal.sqlite3", "agent.log", "controlplane.log", "vault.json"} <= names
    return [file for file in files if CANARY.encode() in file.read_bytes()]


def test_a_credential_is_sealed_by_the_caller_and_seen_in_the_vault_only(stack):
    own = on_agent(stack, "delivery-key", "--json")
    assert {"publicKey": shown(stack)["publicKey"], "publicKeyFingerprint": shown(stack)["publicKeyFingerprint"]} == own
    pinned = ("--fingerprint", own["publicKeyFingerprint"])
    with ProcessList() as processes:
        told = sent(stack, {"host": "h", "password": CANARY}, "--connection", "web-db", *pinned)
        job = stack.control_plane.wait(told["jobs"][0]["jobId"])
        assert job["status"] == "success", job
        tested = stack.control_plane.wait(stack.control_plane.submit("connection.test", {}, connectionId="web-db"))
        assert tested["status"] == "success"
        assert kept(stack.folder) == []
    assert processes.rounds > 1
    assert not processes.seen
    plane = stack.control_plane.api
    for path in (f"/jobs/{job['id']}", "/jobs", "/audit", f"/agents/{stack.agent_id}"):
        assert CANARY not in plane.get(path).text
    assert job["params"]["credentials"] == "[redacted]"


def test_what_is_in_clear_is_sealed_by_the_control_plane_or_refused_by_the_agent(stack):
    plane = stack.control_plane
    body = {"agentId": stack.agent_id, "credentials": {"password": CANARY}}
    answer = plane.api.put("/connections/web-2/credentials", json=body)
    assert answer.status_code == 202, answer.text
    assert plane.wait(answer.json()["data"]["jobs"][0]["jobId"])["status"] == "success"
    params = {"connectionId": "web-3", "credentials": {"password": CANARY}}
    refused = plane.wait(plane.submit("system.storeCredential", params))
    assert refused["status"] == "error"
    assert "this agent takes sealed credentials only" in refused["result"]["error"]
    assert kept(stack.folder) == []


def test_sealed_parameters_run_and_are_read_by_nobody_else(stack, tmp_path):
    mark = tmp_path / "mark"
    script = f"word={CANARY}; echo ${{#word}} > {mark}; sleep 0.5"
    with ProcessList() as processes:
        told = sent(stack, {"actionType": "script.bash", "params": {"script": script}, "timeout": 30})
        job = stack.control_plane.wait(told["jobId"])
    assert job["status"] == "success", job
    assert mark.read_text() == f"{len(CANARY)}\n"
    assert job["timeoutSeconds"] == 30
    assert not processes.seen
    listed = json.dumps(job["params"])
    assert "ciphertext" in listed
    assert CANARY not in listed


def test_replayed_values_and_those_for_a_former_key_are_answered_with_what_to_do(stack):
    plane = stack.control_plane
    own = on_agent(stack, "delivery-key", "--json")
    words = ("--agent", stack.agent_id, "--key", own["publicKey"], "--connection", "web-db")
    first = json.loads(seal(stack, {"password": CANARY}, *words).stdout)
    assert plane.api.post("/jobs", json=first).status_code == 201
    again = plane.api.post("/jobs", json=first)
    assert (again.status_code, again.json()["code"]) == (409, "job_id_used")

    former = json.loads(seal(stack, {"password": CANARY}, *words).stdout)
    new = on_agent(stack, "delivery-key", "--rotate", "--json")
    assert new != own
    eventually(lambda: shown(stack)["publicKey"] == new["publicKey"], within=60, what="the new key is registered")
    refused = plane.api.post("/jobs", json=former)
    assert (refused.status_code, refused.json()["code"]) == (409, "sealed_to_another_key")
    told = sent(stack, {"password": CANARY}, "--connection", "web-db")
    assert plane.wait(told["jobs"][0]["jobId"])["status"] == "success"


def test_the_key_survives_a_restart_and_a_lost_one_is_replaced_and_registered(stack):
    before = shown(stack)["publicKey"]
    stack.agent.stop()
    stack.agent.start()
    told = sent(stack, {"password": CANARY}, "--connection", "web-db")
    assert stack.control_plane.wait(told["jobs"][0]["jobId"], timeout=60)["status"] == "success"
    assert shown(stack)["publicKey"] == before

    waiting = json.loads(
        seal(stack, {"password": CANARY}, "--agent", stack.agent_id, "--key", before, "--connection", "web-db").stdout
    )
    stack.agent.stop()
    (stack.agent.state_dir / "delivery_key.json").unlink()
    answer = stack.control_plane.api.post("/jobs", json=waiting)
    assert answer.status_code == 201, "its key is the last that is known"
    stack.agent.start()
    job = stack.control_plane.wait(answer.json()["data"]["id"], timeout=60)
    assert job["status"] == "error"
    assert "were sealed to the key" in job["result"]["error"]
    assert "started" not in {step["step"] for step in job["timings"]}
    eventually(lambda: shown(stack)["publicKey"] not in {None, before}, within=60, what="a new key")
    assert kept(stack.folder) == []
