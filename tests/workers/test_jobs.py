from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from easyalert.errors import AgentFault, JournalError
from easyalert.host_keys import HostKey
from easyalert.journal import State
from easyalert.runtime import this_process
from tests.support.agent_home import API_KEY
from tests.support.ssh_server import own_ssh_server
from tests.workers.chain import Chain
from tests.workers.oddities import foreign
from vault import Vault, VaultKey
from workers import jobs
from workers.jobs import Ended, JobRunner, cut, run_job
from workers.registry import Registry
from workers.toolbox import pack


@pytest.fixture
def chain(make_home):
    return Chain(make_home("https://control.example"))


@pytest.fixture
def announced():
    return []


@pytest.fixture
def runner(chain, announced):
    tools = replace(pack(chain.home.settings), registry=Registry(foreign=foreign()))
    with chain.home.journal() as journal:
        runner = JobRunner(tools, journal, this_process(), announce=lambda row, at: announced.append((row, at)))
        yield runner
        runner.close()


def run(chain, runner, action, params=None, **fields):
    key = chain.take(action, params or {}, **fields)
    ended = runner.run(key)
    return ended, chain.row(key)


def test_a_job_runs_once_and_is_recorded(chain, runner, announced):
    ended, row = run(chain, runner, "odd.count", {"n": 4})
    assert row.state is State.DONE
    assert row.result["output"] == {"n": 4}
    assert row.outcome == "finished"
    assert row.sealed is None
    assert ended == Ended(ok=True, word="success", exit_code=0, duration_ms=row.result["durationMs"])
    assert announced[0][0].owner == this_process()
    assert runner.run(row.key) is None
    assert len(announced) == 1


def test_what_is_not_there_is_not_run(runner):
    assert runner.run("missing") is None


def test_a_credential_without_address_goes_where_it_has_gone_before(chain, runner):
    """Defect C2."""

    def send(to):
        return run(chain, runner, "odd.send", {"to": to}, connection_id="conn-1")[1].result

    vault = Vault(chain.home.settings.vault_path, VaultKey(API_KEY))
    vault.put("conn-1", {"password": "hunter2hunter2"})
    assert send("one.example")["status"] == "success"
    assert send("one.example")["status"] == "success"
    refused = send("two.example")
    assert (refused["status"], refused["exitCode"]) == ("error", -1)
    assert "has been used for one.example since 2" in refused["error"]
    assert "easyalert-agent vault unbind conn-1" in refused["error"]
    vault.put("conn-1", {"password": "hunter3hunter3"})  # whoever can deliver the secret knows it
    assert send("two.example")["status"] == "success"


def test_a_first_use_pins_the_host_keys_and_is_recorded(chain):
    """Defect D8, with SSH_HOST_KEYS=tofu: the vault's entry has host and password, and no key is known."""

    async def handle(process):
        process.exit(0)

    with own_ssh_server(handle) as entry, chain.home.journal() as journal:
        del entry["strictHostKeyChecking"]
        Vault(chain.home.settings.vault_path, VaultKey(API_KEY)).put("web-1", entry)
        results = {}
        for rule in ("strict", "tofu"):
            settings = chain.home.settings.model_copy(update={"ssh_host_keys": rule})
            runner = JobRunner(pack(settings), journal, this_process())
            _, row = run(chain, runner, "ssh.executeCommand", {"command": "true"}, connection_id="web-1")
            runner.close()
            results[rule] = row.result
        assert "nobody knows the host key" in results["strict"]["error"]
        assert results["tofu"]["status"] == "success", results["tofu"]
        (line,) = settings.host_keys_path.read_text().splitlines()
        name, pinned = line.split(maxsplit=1)
        assert name == f"[127.0.0.1]:{entry['port']}"
        recorded = [entry for entry in journal.audit_waiting(1000) if entry.kind == "hostKey.pinned"]
        assert [entry.fields["keys"] for entry in recorded] == [[HostKey.read(pinned).fingerprint]]


def test_a_late_job_is_not_started(chain, runner, announced):
    ended, row = run(chain, runner, "odd.count", {"n": 4}, start_within_s=-1.0)
    assert ended is None
    assert row.state is State.EXPIRED
    assert announced == []
    assert runner.ended(row.key).word == "expired"


def test_how_a_job_ended_is_told_only_when_it_has(chain, runner):
    key = chain.take("odd.count", {"n": 1})
    assert runner.ended(key) is None
    runner.run(key)
    assert runner.ended(key).ok
    assert runner.ended("missing") is None


@pytest.mark.parametrize(
    ("action", "fault", "says"),
    [
        ("odd.raise", "agent", "unexpected ValueError in odd.raise"),
        ("odd.exit", "agent", "unexpected SystemExit"),
        ("odd.cancel", "agent", "unexpected CancelledError"),
        ("odd.impatient", "agent", "unexpected TimeoutError"),
        ("odd.none", "agent", "no result"),
        ("odd.missing", "job", "no action 'missing'"),
        ("odd", "job", "no action 'odd'"),
        ("missing.action", "job", "no executor 'missing'"),
        ("odd.count", "job", "parameter 'n' is required"),
        ("odd.target", "target", "the target refused"),
    ],
)
def test_every_failure_is_a_result(chain, runner, action, fault, says):
    _, row = run(chain, runner, action)
    assert row.result["status"] == "error"
    assert row.result["exitCode"] == -1
    assert row.result["output"] is None
    assert says in row.result["error"]
    assert len(row.result["error"]) <= 500
    assert row.fault == fault
    assert "hunter2" not in json.dumps(row.result)
    assert "Traceback" not in json.dumps(row.result)


def test_the_deadline_holds_for_executors_that_do_not_look(chain, runner):
    _, row = run(chain, runner, "odd.wait", timeout_s=1)
    assert row.outcome == "timed_out"
    assert "1 seconds" in row.result["error"]
    assert (row.result["exitCode"], row.result["output"]) == (-1, None)


def test_values_json_cannot_carry_are_replaced(chain, runner):
    _, row = run(chain, runner, "odd.nan")
    assert row.result["output"]["n"] is None
    assert row.result["output"]["s"] == "?"


def test_an_output_nobody_could_send_is_left_out(chain, runner):
    _, row = run(chain, runner, "odd.huge")
    assert row.result["status"] == "success"
    assert row.result["output"] is None
    assert "left out" in row.result["error"]


def test_secrets_are_redacted_before_the_error_is_cut(chain, runner):
    secret = "correct-horse-battery"
    runner._tools.vault.put("web", {"password": secret})
    _, row = run(chain, runner, "odd.leak", connection_id="web")
    text = json.dumps(row.result)
    assert not any(secret[:n] in text for n in range(8, len(secret)))
    assert row.result["output"]["redactions"] == 3


def test_a_missing_credential_says_what_to_do(chain, runner):
    _, row = run(chain, runner, "odd.leak", connection_id="web")
    assert row.result["exitCode"] == -1
    assert row.fault == "agent"
    assert "PUT /connections" in row.result["error"]


def test_the_agents_own_key_is_a_secret_of_every_job(chain, runner):
    _, row = run(chain, runner, "script.bash", {"script": f"echo {API_KEY}"})
    assert row.result["output"]["stdout"] == "[REDACTED]\n"


def test_a_result_that_cannot_be_written_is_tried_again(chain, runner, monkeypatch):
    finish, failures, waits = runner._journal.finish, [1, 2, 3], []
    runner._recording_waits = lambda: waits.append(1)

    def moody(*args, **kwargs):
        if failures:
            failures.pop()
            raise JournalError("disk full")
        return finish(*args, **kwargs)

    monkeypatch.setattr(runner._journal, "finish", moody)
    monkeypatch.setattr(jobs, "_RETRY_FIRST_S", 0.001)
    _, row = run(chain, runner, "odd.count", {"n": 1})
    assert row.state is State.DONE
    assert waits == [1]


def test_a_result_for_a_row_somebody_else_has_ended_is_dropped(chain, runner, caplog):
    key = chain.take("odd.count", {"n": 1})

    def meddle(row, _deadline):
        with chain.home.journal() as other:
            other.owner_died(row, run_again=False)

    runner._announce = meddle
    runner.run(key)
    assert chain.row(key).state is State.IN_DOUBT
    assert "dropped" in caplog.text


def test_the_job_function_refuses_to_run_outside_the_pool(runner, chain):
    with pytest.raises(AgentFault, match="worker pool"):
        run_job("job_1")
    jobs.install(runner)
    try:
        assert run_job(chain.take("odd.count", {"n": 1})).ok
    finally:
        jobs.install(None)


def test_the_poller_is_woken(chain, runner):
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(os.fspath(chain.home.settings.wakeup_socket))
        listener.settimeout(2)
        run(chain, runner, "odd.count", {"n": 1})
        assert listener.recv(16)


def test_a_result_is_cut_for_a_full_disk_at_both_ends_and_only_once():
    text = "first\n" + "x" * 100_000 + "\nlast"
    recorded = {
        "jobId": "job_1", "status": "success", "exitCode": 0, "durationMs": 1, "error": None,
        "output": {"stdout": text, "stderr": "", "truncated": False},
    }  # fmt: skip
    small = cut(recorded)
    assert small["output"]["stdout"].startswith("first\n")
    assert small["output"]["stdout"].endswith("\nlast")
    assert small["output"]["originalStdoutSize"] == len(text)
    assert small["output"]["truncated"]
    assert "disk was full" in small["error"]
    assert len(json.dumps(small)) < 32_768
    assert cut(small) is small
    other = cut({**recorded, "output": {"rows": [text]}, "error": "it failed"})
    assert other["output"] is None
    assert other["error"].startswith("it failed (the agent's disk was full")
