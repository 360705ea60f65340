from __future__ import annotations

import json
from typing import ClassVar

import pytest

from easyalert.errors import Fault
from easyalert.hardening import become_subreaper
from tests.workers.chain import gone, pid_in
from workers.executors.custom import Custom
from workers.registry import Registry
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import SECRET, Harness

pytestmark = pytest.mark.system

ECHO = "#!/bin/sh\ncat\n"
GREET = """
description = "Greets."
idempotent = true
[parameters.name]
required = true
description = "Whom."
[parameters.times]
type = "integer"
[parameters.loud]
type = "boolean"
[parameters.schema]
type = "object"
"""


class Folder:
    """CUSTOM_ACTIONS_DIR."""

    def __init__(self, path):
        self.path = path
        path.mkdir(mode=0o755)

    def add(self, name, text=ECHO, manifest=None, mode=0o755):
        file = self.path / name
        file.write_text(text)
        file.chmod(mode)
        if manifest is not None:
            (self.path / f"{name}.toml").write_text(manifest)
            (self.path / f"{name}.toml").chmod(0o644)
        return file


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "actions")


@pytest.fixture
def harness(folder, tmp_path):
    return Harness(Custom(folder.path), tmp_path, credential={"host": "db", "password": "hunter2hunter2"})


class TestContract(ExecutorContract):
    executor = Custom
    samples: ClassVar = {"greet": {"name": "Ada", "loud": True}, "anything": {"a": [1]}}
    folder: ClassVar

    @pytest.fixture(autouse=True)
    def actions(self, tmp_path):
        type(self).folder = folder = Folder(tmp_path / "actions")
        folder.add("greet", ECHO, GREET)
        folder.add("anything")

    def made(self):
        return Custom(self.folder.path)


def test_it_gets_the_job_as_json_and_its_json_is_the_result(folder, harness):
    folder.add("greet", ECHO, GREET)
    ran = harness.run("greet", {"name": "Ada", "times": "3", "schema": {"a": 1}, "other": "not declared"})
    assert ran.recorded["status"] == "success", ran.error
    assert ran.recorded["output"]["result"] == {
        "action": "custom.greet",
        "jobId": "job_of_the_test",
        "connectionId": "conn-of-the-test",
        "timeoutSeconds": ran.recorded["output"]["result"]["timeoutSeconds"],
        "params": {"name": "Ada", "times": 3, "schema": {"a": 1}},
    }


def test_without_a_declaration_it_gets_all_but_the_connections_configuration(folder, harness):
    folder.add("anything")
    params = {"a": [1, None], "text": "ü\n", "connectionConfig": {"host": "h"}, "connection_config": {"host": "h"}}
    ran = harness.run("anything", params)
    assert ran.recorded["output"]["result"]["params"] == {"a": [1, None], "text": "ü\n"}


def test_a_credential_goes_only_to_whom_its_manifest_gives_it(folder, harness):
    measure = "#!/bin/sh\nif grep -q hunter2hunter2; then echo true; else echo false; fi\n"
    folder.add("with", measure, "needsCredential = true")
    folder.add("without", measure, "needsCredential = false")
    folder.add("bare", measure)
    assert [harness.run(name, {}).recorded["output"]["result"] for name in ("with", "without", "bare")] == [
        True, False, False,
    ]  # fmt: skip


def test_a_credential_is_redacted_wherever_it_comes_back(folder, harness):
    folder.add("leak", "#!/bin/sh\ncat | tee /dev/stderr; exit 3\n", "needsCredential = true")
    ran = harness.run("leak", {})
    assert "hunter2hunter2" not in json.dumps(ran.recorded)
    assert ran.recorded["output"]["result"]["credential"]["password"] == "[REDACTED]"
    assert ran.recorded["output"]["redactions"] >= 2


def test_without_its_credential_it_is_not_run(folder, tmp_path):
    folder.add("with", f"#!/bin/sh\ntouch {tmp_path}/ran\n", "needsCredential = true")
    ran = Harness(Custom(folder.path), tmp_path).run("with", {})
    assert "no credential" in ran.error
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("text", ["hello", "{", "[" * 100_000, "9" * 5_000, "{} {}"])
def test_what_is_no_json_comes_back_as_text_with_a_note(folder, harness, tmp_path, text):
    (tmp_path / "text").write_text(text)
    folder.add("plain", f"#!/bin/sh\ncat {tmp_path}/text\n")
    output = harness.run("plain", {}).recorded["output"]
    assert (output["result"], output["stdout"]) == (None, text)
    assert "no JSON" in output["note"]


def test_nothing_said_is_no_result_and_no_note(folder, harness):
    folder.add("silent", "#!/bin/sh\n")
    assert harness.run("silent", {}).recorded["output"] == {"result": None, "stderr": "", "truncated": False}


def test_output_is_bounded(folder, harness):
    folder.add("long", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\n")
    output = harness.run("long", {}).recorded["output"]
    assert output["originalStdoutSize"] == 3_000_000
    assert len(output["stdout"]) < 1_100_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo first >&2; echo the disk is full >&2", "exit code 3: the disk is full"),
        ("""echo '{"error": "no such site"}'; echo debug >&2""", "no such site"),
        ("true", "nothing on standard error"),
    ],
)
def test_another_exit_code_is_an_error_with_its_own_words(folder, harness, text, words):
    folder.add("fails", f"#!/bin/sh\n{text}\nexit 3\n")
    ran = harness.run("fails", {})
    assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("error", 3)
    assert words in ran.error


def test_a_time_out_of_its_manifest_ends_all_it_has_started(folder, harness, tmp_path):
    become_subreaper()  # as the worker is
    text = f"#!/bin/sh\nsleep 987 & echo $! > {tmp_path}/pid\necho half >&2; wait\n"
    folder.add("slow", text, "timeout = 1")
    ran = harness.run("slow", {})
    assert ran.result.outcome == "timed_out"
    assert ran.recorded["output"]["stderr"] == "half\n"
    assert gone(pid_in(tmp_path / "pid"))


def test_a_cancel_ends_it(folder, tmp_path):
    folder.add("slow", f"#!/bin/sh\ntouch {tmp_path}/begun; sleep 987\n")
    ran = Harness(Custom(folder.path), tmp_path, cancelled=(tmp_path / "begun").exists).run("slow", {})
    assert ran.result.outcome == "cancelled"


def test_nothing_of_the_agents_environment_reaches_it(folder, harness, monkeypatch):
    monkeypatch.setenv("AGENT_API_KEY", SECRET)
    folder.add("look", "#!/bin/sh\nenv\npwd\n")
    output = harness.run("look", {}).recorded["output"]["stdout"]
    assert "AGENT_API_KEY" not in output
    assert output.count("/work\n") >= 2  # home and working directory


@pytest.mark.parametrize("name", ["../greet", "greet\n", "greet.toml", ".hidden", "", "a" * 65, "gréet", "sub"])
def test_c21_a_name_that_is_no_actions_is_refused_and_those_there_are_named(folder, harness, name):
    folder.add("greet", ECHO, GREET)
    (folder.path / "sub").mkdir()
    ran = harness.run(name, {})
    assert ran.recorded["exitCode"] == -1
    assert ran.error.endswith("it has: greet")


def test_without_a_folder_the_setting_is_named(tmp_path):
    assert "CUSTOM_ACTIONS_DIR" in Harness(Custom(), tmp_path).run("greet", {}).error


def test_what_others_could_have_written_is_not_run(folder, harness, tmp_path):
    file = folder.add("greet", f"#!/bin/sh\ntouch {tmp_path}/ran\n", "idempotent = true")
    for open_to_others, right in (
        (file, 0o755), (folder.path / "greet.toml", 0o644), (folder.path, 0o755),
    ):  # fmt: skip
        open_to_others.chmod(right | 0o020)
        ran = harness.run("greet", {})
        assert "can be written by others" in ran.error
        assert ran.result.fault is Fault.AGENT
        open_to_others.chmod(right)
    assert not (tmp_path / "ran").exists()
    assert harness.run("greet", {}).recorded["status"] == "success"


def test_a_link_out_of_the_folder_is_not_followed(folder, harness, tmp_path):
    (tmp_path / "outside").write_text(ECHO)
    (tmp_path / "outside").chmod(0o755)
    (folder.path / "greet").symlink_to(tmp_path / "outside")
    assert "leads out of its folder" in harness.run("greet", {}).error


@pytest.mark.parametrize("manifest", ["timeout = 0", "surprise = 1", "= =", '[parameters.a]\ntype = "date"', "\0"])
def test_a_broken_manifest_has_its_action_refused(folder, harness, manifest):
    folder.add("greet", ECHO, manifest)
    ran = harness.run("greet", {})
    assert "greet.toml" in ran.error
    assert ran.result.fault is Fault.AGENT


def test_actions_come_and_go_and_say_whether_they_may_be_repeated(folder):
    registry = Registry(foreign={}, owners_actions=folder.path)
    folder.add("greet", ECHO, GREET)
    folder.add("once")
    assert registry.spec("custom.greet").may_repeat({}) is True
    assert registry.spec("custom.once").may_repeat({}) is False
    assert registry.repeatable() == ["custom.greet"]
    (folder.path / "greet").unlink()
    assert registry.repeatable() == []
