"""A command on a Windows host is ended when its job is, or the error says that it may run on (defects A23, B1, B6)."""

from __future__ import annotations

import threading

import pytest

from tests.support.waiting import eventually
from tests.support.wsman_case import HI, entry, run_job
from tests.support.wsman_server import NO_SHELL, FaultError, WsmanServer
from workers.executors import winrm
from workers.sdk import running, winrm_command, winrm_session

pytestmark = pytest.mark.system


@pytest.fixture
def host(tmp_path):
    with WsmanServer(tmp_path) as server:
        yield server


@pytest.fixture
def run(host, tmp_path):
    def job(text=HI, *, name="executeCommand", params=None, **how):
        given = {} if name == "testConnection" else {"command": text}
        return run_job(tmp_path, entry(host.port), {**given, **(params or {})}, name=name, **how)

    return job


@pytest.fixture
def hanging(host):
    begun = threading.Event()

    def program(command):
        command.out("begun\r\n")
        begun.set()
        command.wait()

    host.programs["hang"] = program
    return begun


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "winrm"]


def test_defect_a23_a_time_out_ends_the_command_and_keeps_what_was_printed(host, run, hanging):
    result = run("hang", late=lambda: host.actions.count("Receive") >= 2)
    assert result["outcome"] == "timed_out"
    assert result["exitCode"] == -1
    assert result["error"] == f"timed out after 60 seconds; the command was ended on 127.0.0.1:{host.port}"
    assert result["output"]["stdout"] == "begun\r\n"
    assert host.commands[0].ended_by == "terminate"
    assert host.shells == {}
    eventually(lambda: not threads(), what="the end of the thread")


def test_the_jobs_own_limit_leaves_time_to_end_the_command(host, run, hanging):
    result = run("hang", timeout_s=10)
    assert result["outcome"] == "timed_out"
    assert "timed out after 10 seconds; the command was ended" in result["error"]
    assert host.commands[0].ended_by == "terminate"
    assert host.shells == {}


def test_a_cancel_ends_the_command_and_keeps_what_was_printed(host, run, hanging, monkeypatch):
    monkeypatch.setattr(running, "CANCEL_PATIENCE_S", 60)
    monkeypatch.setitem(winrm._ENDING_S, "cancelled", 50)
    result = run("hang", cancelled=lambda: host.actions.count("Receive") >= 2)
    assert result["outcome"] == "cancelled"
    assert result["error"] == f"cancelled; the command was ended on 127.0.0.1:{host.port}"
    assert host.commands[0].ended_by == "terminate"
    assert host.shells == {}


def test_what_cannot_be_ended_is_said_to_run_on(host, run, hanging):
    host.fault["Signal"] = host.fault["Delete"] = lambda handler, envelope: handler.hang_up()
    result = run("hang", late=lambda: host.actions.count("Receive") >= 2)
    assert "the command could not be ended and may run on" in result["error"]
    assert result["outcome"] == "timed_out"
    assert result["output"]["stdout"] == "begun\r\n"


def test_a_shell_that_is_gone_already_has_ended_its_command(host, run, hanging):
    def gone(handler, envelope):
        raise FaultError(NO_SHELL, "w:InvalidSelectors", "not found")

    host.fault["Signal"] = host.fault["Delete"] = gone
    assert "the command was ended" in run("hang", late=lambda: host.actions.count("Receive") >= 2)["error"]


def test_deleting_the_shell_is_enough(host, run, hanging):
    def refused(handler, envelope):
        raise FaultError(1, "w:InternalError", "no")

    host.fault["Signal"] = refused
    assert "the command was ended" in run("hang", late=lambda: host.actions.count("Receive") >= 2)["error"]
    assert host.commands[0].ended_by == "delete"


def test_before_it_has_begun_nothing_can_run_on(host, run):
    over = threading.Event()
    host.fault["Create"] = lambda handler, envelope: over.wait(30) and False
    result = run(late=lambda: "Create" in host.actions)
    over.set()
    assert result["error"] == f"timed out after 60 seconds; the command was not started on 127.0.0.1:{host.port}"
    assert host.commands == []


def test_a_cancel_that_the_host_does_not_answer_says_that_it_may_run_on(host, run, hanging):
    over = threading.Event()
    for action in ("Signal", "Delete"):
        host.fault[action] = lambda handler, envelope: over.wait(60) and False
    result = run("hang", cancelled=hanging.is_set)
    over.set()
    assert result["outcome"] == "cancelled"
    assert "may " in result["error"]


@pytest.mark.parametrize("why", ["timed_out", "cancelled"])
def test_a_test_that_is_ended_says_how_far_it_came(host, run, why):
    asked, over = threading.Event(), threading.Event()

    def hang(handler, envelope):
        asked.set()
        return over.wait(60) and False

    host.fault["Command"] = hang
    ends = {"late" if why == "timed_out" else "cancelled": asked.is_set}
    result = run(name="testConnection", **ends)
    over.set()
    assert result["outcome"] == why
    assert result["exitCode"] == -1
    assert [step["step"] for step in result["output"]["steps"]] == ["name", "tcp", "login"]
    assert ("had come as far as 'login'" in result["error"]) == (why == "timed_out")
    assert host.shells == {}


def test_a_command_that_is_silent_for_long_is_waited_for(host, run, monkeypatch):
    """Operation timeouts are asked again, up to the limit of the job (the library alone would ask for ever)."""
    monkeypatch.setattr(winrm_session, "OPERATION_S", 1)
    host.programs["slow"] = lambda command: (
        eventually(lambda: host.actions.count("Receive") >= 3),
        command.out("late"),
    )
    result = run("slow")
    assert result["output"]["stdout"] == "late"
    assert host.actions.count("Receive") >= 3


def test_defect_b6_a_host_that_never_answers_outlives_no_job(host, run):
    """No operation timeout, no answer: the socket is cut, and the thread ends with the job."""
    over = threading.Event()
    for action in ("Receive", "Signal", "Delete"):
        host.fault[action] = lambda handler, envelope: over.wait(60) and False
    result = run(late=lambda: "Receive" in host.actions)
    assert result["outcome"] == "timed_out"
    assert "may run on" in result["error"]
    eventually(lambda: not threads(), what="the end of the threads")
    over.set()


def test_a_connection_that_breaks_ends_the_command_and_is_no_success(host, run, hanging):
    def cut(handler, envelope):
        if host.actions.count("Receive") == 1:
            return None
        return handler.hang_up()

    host.fault["Receive"] = cut
    result = run("hang")
    assert result["status"] == "error"
    assert "broke off; the command was ended" in result["error"]
    assert result["output"]["stdout"] == "begun\r\n"
    assert host.commands[0].ended_by == "terminate"
    assert host.connections == 2


def test_what_is_left_of_a_shell_after_the_end_does_not_change_the_result(host, run):
    host.fault["Signal"] = host.fault["Delete"] = lambda handler, envelope: handler.hang_up()
    assert run()["status"] == "success"


def test_a_host_that_ends_a_command_and_then_says_nothing_does_not_keep_the_result(host, run, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(winrm_session, "READ_S", 600)
    monkeypatch.setattr(winrm_command, "_TIDY_S", 0.5)
    host.fault["Signal"] = lambda handler, envelope: over.wait(600) and False
    result = run(timeout_s=3600, params={"timeout": 3600})
    over.set()
    assert result["status"] == "success"
    assert host.actions[-1] == "Signal"
