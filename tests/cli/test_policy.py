"""`policy check` and `policy show`: what people and programs are told, and the exit codes."""

from __future__ import annotations

import base64
import json
import os

import pytest

from cli.__main__ import main
from easyalert.journal import Journal
from vault import Vault, VaultKey

POLICY = """timezone = "UTC"
[[deny]]
name = "freeze"
reason = "until Tuesday"
actions = ["script.*"]
days = ["mon"]
[[allow]]
name = "shop"
actions = ["http.*", "script.bash"]
connections = ["shop-*"]
targets = ["https://shop.test/"]
"""
MONDAY, TUESDAY = "2026-01-05T12:00+00:00", "2026-01-06T12:00+00:00"


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AGENT_", "JOB_", "POLICY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "policy.toml").write_text(POLICY)
    return tmp_path


def check(files, capsys, job, *more):
    (files / "job.json").write_text(json.dumps(job))
    code = main(["policy", "check", str(files / "policy.toml"), str(files / "job.json"), *more])
    return code, capsys.readouterr()


def test_a_file_that_an_agent_would_not_rely_on_is_said(files, capsys):
    (files / "policy.toml").chmod(0o666)
    code, said = check(files, capsys, {"actionType": "script.bash"}, "--json")
    assert code == 5
    (note,) = json.loads(said.out)["notes"]
    assert note.startswith("with the file as it lies here, an agent refuses every job: ")
    assert "can be written by others" in note


def test_people_are_told_rule_by_rule(files, capsys):
    job = {
        "actionType": "http.request",
        "connectionId": "shop-1",
        "params": {"url": "https://shop.test/x?token=s3cret"},
    }
    code, said = check(files, capsys, job, "--at", TUESDAY)
    assert code == 0
    assert "[[deny]] 'freeze': does not fit" in said.out
    assert "[[allow]] 'shop': fits" in said.out
    assert "goes to https://shop.test:443" in said.out
    assert said.out.splitlines()[-2] == "The job may run: allowed by [[allow]] 'shop'."
    assert said.out.splitlines()[-1].startswith("note: the vault was not opened (AGENT_API_KEY is not set here)")
    assert "s3cret" not in said.out


def test_programs_are_told_the_same(files, capsys):
    job = {"actionType": "script.bash", "params": {"script": "x"}}
    code, said = check(files, capsys, job, "--at", MONDAY, "--json")
    found = json.loads(said.out)
    assert code == found["exitCode"] == 5
    assert (found["allowed"], found["rule"], found["sentence"]) == (
        False,
        "freeze",
        "[[deny]] 'freeze' fits (until Tuesday)",
    )
    assert found["asked"]["interpreter"] == "bash"
    assert len(found["asked"]["sha256"]) == 64
    assert [rule["name"] for rule in found["rules"]] == ["freeze", "shop"]
    assert found["rules"][1]["conditions"][1] == {
        "condition": "connections",
        "fits": False,
        "why": "the job names no connection",
    }


def test_a_dry_run_is_said(files, capsys):
    (files / "policy.toml").write_text("dry_run = true\n" + POLICY)
    _, said = check(files, capsys, {"actionType": "odd.one"})
    assert said.out.splitlines()[-1] == "But dry_run = true: the agent says so and runs nothing."


def test_the_vaults_address_counts_where_the_vault_can_be_opened(files, capsys, monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", "the-key-of-this-agent")
    monkeypatch.setenv("AGENT_API_URL", "http://127.0.0.1:1")
    vault = Vault(files / "state" / "vault.json", VaultKey("the-key-of-this-agent"))
    vault.put("shop-1", {"baseUrl": "https://other.test", "token": "hunter2-hunter2"})
    job = {"actionType": "http.request", "connectionId": "shop-1", "params": {"url": "/x"}}
    code, said = check(files, capsys, job)
    assert code == 5
    assert "https://other.test:443 is not among 'https://shop.test/'" in said.out
    assert "hunter2" not in said.out
    code, said = check(files, capsys, {**job, "connectionId": "shop-2"})
    assert "the vault has no entry for connection 'shop-2'" in said.out


@pytest.mark.parametrize(
    ("policy", "job", "more", "code", "says"),
    [
        ("[[alow]]", "{}", [], 2, "policy.toml, line 1: 'alow' is no key of this file: write allow"),
        ("x = ", "{}", [], 2, "no TOML"),
        (POLICY, "{", [], 1, "is no JSON"),
        (POLICY, "[]", [], 1, "is no job"),
        (POLICY, '{"actionType": "a.b"}', ["--at", "noon"], 2, "--at 'noon' is no time"),
    ],
)
def test_bad_input_is_one_sentence_and_no_traceback(files, capsys, policy, job, more, code, says):
    (files / "policy.toml").write_text(policy)
    (files / "job.json").write_text(job)
    assert main(["policy", "check", str(files / "policy.toml"), str(files / "job.json"), *more]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert said.err.count("\n") == 1
    assert "Traceback" not in said.err


def test_a_policy_file_that_is_not_there(files, capsys):
    assert main(["policy", "check", "no.toml", "job.json"]) == 2
    assert "no.toml cannot be read" in capsys.readouterr().err


# ---- show -----------------------------------------------------------------------------------------------------------


def show(capsys, *more):
    code = main(["policy", "show", *more])
    return code, capsys.readouterr()


def test_no_policy(files, capsys):
    code, said = show(capsys)
    assert code == 0
    assert "does not exist, everything this agent can do is allowed" in said.out
    assert "signatures: not looked at" in said.out


def test_the_policy_in_force_as_it_is_understood(files, capsys):
    file = files / "state" / "policy.toml"
    file.write_text("dry_run = true\n" + POLICY)
    file.chmod(0o600)
    code, said = show(capsys)
    assert code == 0
    assert f"{file} is in force: dry run, nothing is run" in said.out
    assert "[[deny]] 'freeze'\n  reason: until Tuesday\n  actions: script.*\n  hours: mon 00:00-24:00 UTC" in said.out
    assert ("give it to root" in said.out) is (os.getuid() != 0)
    code, said = show(capsys, "--json")
    found = json.loads(said.out)
    assert (found["inForce"], found["dryRun"], found["allow"][0]["targets"]) == (True, True, ["https://shop.test/"])


def test_a_policy_that_allows_nothing_is_said(files, capsys):
    file = files / "state" / "policy.toml"
    file.write_text("")
    file.chmod(0o600)
    assert "there is no [[allow]] rule: every job is refused" in show(capsys)[1].out


@pytest.mark.parametrize(
    ("content", "mode", "says"), [("x", 0o600, "no TOML"), (POLICY, 0o666, "can be written by others")]
)
def test_a_broken_policy_in_force(files, capsys, content, mode, says):
    file = files / "state" / "policy.toml"
    file.write_text(content)
    file.chmod(mode)
    code, said = show(capsys)
    assert code == 2
    assert says in said.err


def test_what_the_agent_was_started_with_counts_in_a_shell_without_its_settings(files, capsys):
    file = files / "etc.toml"
    file.write_text(POLICY)
    file.chmod(0o600)
    with Journal(files / "state" / "journal.sqlite3") as journal:
        journal.leave_note("policy", {"state": "ok", "file": str(file), "signatures": "require"})
    code, said = show(capsys)
    assert code == 0
    assert f"{file} is in force" in said.out
    assert "was started with JOB_SIGNATURES=require, which is not set so here" in said.out
    file.unlink()
    assert show(capsys)[0] == 2


def test_whose_signatures_count(files, capsys, monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", "k")
    monkeypatch.setenv("AGENT_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("JOB_SIGNATURES", "require")
    monkeypatch.setenv("JOB_SIGNATURE_KEYS", base64.b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("JOB_SIGNATURE_AUDIENCE", "agt_1")
    _, said = show(capsys, "--json")
    found = json.loads(said.out)["signatures"]
    assert (found["mode"], len(found["keys"]), found["audience"]) == ("require", 1, ["agt_1"])
    assert "signatures: required; trusted keys: " in show(capsys)[1].out
    monkeypatch.setenv("JOB_SIGNATURE_KEYS_FILE", str(files / "no-keys"))
    assert show(capsys)[0] == 2
