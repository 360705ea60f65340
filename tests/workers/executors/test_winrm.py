"""The winrm executor against a service made from the published protocol; no Windows host was at hand (contract 3.11)."""

from __future__ import annotations

import logging
from typing import ClassVar

import pytest

from tests.support.wsman_case import HI, PASSWORD, entry, run_job
from tests.support.wsman_server import DENIED, QUOTA, FaultError, WsmanServer
from tests.support.wsman_shells import VERSION
from workers.executors.winrm import Winrm
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = Winrm
    samples: ClassVar = {"executeCommand": {"command": HI}, "executeScript": {"script": HI}, "testConnection": {}}

    def harness(self, tmp_path):
        return Harness(self.executor(), tmp_path, credential=entry(1))


@pytest.fixture
def host(tmp_path):
    with WsmanServer(tmp_path) as server:
        yield server


@pytest.fixture
def run(host, tmp_path):
    def job(text=HI, *, name="executeCommand", credential=None, params=None, **how):
        given = {} if name == "testConnection" else {"script" if name == "executeScript" else "command": text}
        credential = entry(host.port) if credential is None else credential
        return run_job(tmp_path, credential, {**given, **(params or {})}, name=name, **how)

    return job


# ---- commands and scripts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["executeCommand", "executeScript"])
def test_a_text_runs_in_powershell_and_its_shell_is_deleted(host, run, name):
    result = run(name=name)
    assert result["status"] == "success", result
    assert result["output"] == {"stdout": "hi\r\n", "stderr": "", "truncated": False}
    assert result["exitCode"] == 0
    assert host.ran == [HI]
    assert host.actions == ["Create", "Command", "Receive", "Signal", "Delete"]
    assert host.shells == {}
    assert host.commands[0].arguments[:3] == ["-NoProfile", "-NonInteractive", "-EncodedCommand"]
    assert host.commands[0].shell.options["WINRS_CODEPAGE"] == "65001"


def test_the_host_ends_the_shell_by_itself_when_nobody_asks_any_more(host, run):
    run()
    assert host.commands[0].shell.idle == "PT180S"


@pytest.mark.parametrize("code", [1, 7, 255, -1073741819])
def test_another_exit_code_than_0_is_an_error(host, run, code):
    result = run(f"exit {code}")
    assert result["status"] == "error"
    assert result["exitCode"] == code
    assert result["error"] == f"powershell: exit code {code}, nothing on stderr"
    assert result["output"]["stdout"] == ""


def test_defect_a1_an_end_without_exit_code_is_no_success(host, run):
    def program(command):
        command.out("half\r\n")
        command.exit(None)

    host.programs["x"] = program
    result = run("x")
    assert result["status"] == "error"
    assert result["exitCode"] == -1
    assert "no exit code" in result["error"]
    assert result["output"]["stdout"] == "half\r\n"


def test_an_exit_code_without_sign_gets_one_and_an_impossible_one_counts_as_none(host, run):
    host.programs["x"] = lambda command: command.exit(0xC000013A)
    assert run("x")["exitCode"] == -1073741510
    host.programs["x"] = lambda command: command.exit(10**30)
    assert "no exit code" in run("x")["error"]


CODE = (
    '<rsp:CommandState CommandId="x" State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done">'
)


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("Create", "<nothing/>"),
        ("Command", "<rsp:CommandResponse/>"),
        ("Command", "<rsp:CommandResponse><rsp:CommandId></rsp:CommandId></rsp:CommandResponse>"),
        (
            "Receive",
            f"<rsp:ReceiveResponse>{CODE}<rsp:ExitCode>zero</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>",
        ),
        ("Receive", '<rsp:ReceiveResponse><rsp:Stream Name="stdout">*</rsp:Stream></rsp:ReceiveResponse>'),
        ("Receive", '<rsp:ReceiveResponse><rsp:Stream Name="std">AAAA</rsp:Stream></rsp:ReceiveResponse>'),
        ("Receive", "<rsp:ReceiveResponse><rsp:CommandState/></rsp:ReceiveResponse>"),
        ("Receive", "<broken"),
    ],
)
def test_a_host_that_keeps_to_no_protocol_is_no_success(host, run, action, body):
    host.fault[action] = lambda handler, envelope: body
    result = run()
    assert result["status"] == "error"
    assert result["exitCode"] == -1
    assert f"127.0.0.1:{host.port}" in result["error"]
    assert "unexpected" not in result["error"]


def test_an_answer_to_another_message_is_not_taken(host, run):
    def other(handler, envelope):
        return handler.reply(200, handler.receive(envelope), "x", related="uuid:OTHER") or False

    host.fault["Receive"] = other
    assert "with what is no WS-Management" in run()["error"]


def test_the_xml_of_powershells_errors_becomes_text(host, run):
    def program(command):
        text = '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress">'
        text += '<MS><AV>Preparing modules.</AV></MS></Obj><S S="Error">Stop-Service : Cannot find &quot;x&quot;._x000D__x000A_</S></Objs>'
        for at in range(0, len(text), 11):
            command.err(text[at : at + 11])
        command.exit(1)

    host.programs["x"] = program
    result = run("x")
    assert result["output"]["stderr"] == 'Stop-Service : Cannot find "x".\r\n'
    assert result["error"] == 'Stop-Service : Cannot find "x".'


def test_progress_alone_is_no_stderr(host, run):
    host.programs["x"] = lambda command: command.err(
        '#< CLIXML\r\n<Objs xmlns="x"><Obj S="progress"><MS /></Obj></Objs>'
    )
    result = run("x")
    assert result["status"] == "success"
    assert result["output"]["stderr"] == ""


@pytest.mark.parametrize("size", [2_900, 3_200, 250_000])
def test_a_text_of_any_length_runs_as_it_is(host, run, size):
    text = f"Write-Output '{'ü' * (size // 2)}\N{GRINNING FACE}'\n# the end"
    host.programs[text] = lambda command: command.out("ran\r\n")
    result = run(text, name="executeScript")
    assert result["output"]["stdout"] == "ran\r\n", result
    assert host.ran == [text]
    assert all(len(" ".join(["powershell.exe", *c.arguments])) <= 8_191 for c in host.commands)


def test_the_longest_script_and_one_that_is_too_long(host, run):
    text = "#" * 1_048_576
    assert run(text, name="executeScript")["status"] == "success"
    assert host.ran == [text]
    result = run("ü" * 600_000, name="executeScript")
    assert result["error"] == "parameter 'script' is larger than 1048576 bytes"
    assert result["exitCode"] == -1
    assert len(host.ran) == 1


@pytest.mark.parametrize(
    ("name", "params", "wrong"),
    [
        ("executeCommand", {"command": " \n"}, "command"),
        ("executeScript", {"script": ""}, "script"),
        ("executeScript", {"script": "a\0b"}, "script"),
        ("executeScript", {"script": "\ud800"}, "script"),
        ("executeScript", {"script": ["a"]}, "script"),
        ("executeCommand", {"timeout": "soon"}, "timeout"),
        ("executeCommand", {"timeout": -1}, "timeout"),
        ("executeCommand", {"timeout": True}, "timeout"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(host, run, name, params, wrong):
    result = run(name=name, params=params)
    assert result["error"].startswith(f"parameter '{wrong}'")
    assert result["exitCode"] == -1
    assert host.seen == []


# ---- output ---------------------------------------------------------------------------------------------------------


def test_defect_a2_bytes_that_are_no_utf_8_do_not_empty_the_output(host, run):
    host.programs["x"] = lambda command: (command.out(b"caf\xe9 ok\r\n"), command.err(b"\xff\xff!\r\n"))
    output = run("x")["output"]
    assert output["stdout"] == "caf\ufffd ok\r\n"
    assert output["stderr"] == "\ufffd\ufffd!\r\n"


def test_utf_16_and_code_pages(host, run):
    host.programs["x"] = lambda command: command.out("läuft\r\n".encode("utf-16-le"))
    assert run("x")["output"]["stdout"] == "läuft\r\n"
    host.programs["x"] = lambda command: command.out("Grüße\r\n".encode("cp850"))
    assert run("x", credential=entry(host.port, codepage=850))["output"]["stdout"] == "Grüße\r\n"
    assert host.commands[1].shell.options["WINRS_CODEPAGE"] == "850"


def test_a_secret_is_found_in_utf_16_and_in_xml(host, run):
    def program(command):
        command.out(f"{PASSWORD}\r\n".encode("utf-16-le"))
        command.err(f'#< CLIXML\r\n<Objs xmlns="x"><S S="Error">{PASSWORD.replace("-", "_x002D_")}</S></Objs>')

    host.programs["x"] = program
    output = run("x")["output"]
    assert output["stdout"] == output["stderr"] + "\r\n" == "[REDACTED]\r\n"


def test_defect_a17_of_much_output_head_and_tail_are_kept_and_sizes_are_exact(host, run):
    def program(command):
        for number in range(40):
            command.out(f"{number:05}" + "x" * 49_993 + "\r\n")
        command.exit(3)

    host.programs["x"] = program
    result = run("x")
    output = result["output"]
    assert output["truncated"] is True
    assert output["originalStdoutSize"] == 2_000_000
    assert output["originalStderrSize"] == 0
    assert output["stdout"].startswith("00000x")
    assert "00039x" in output["stdout"]
    assert output["stdout"].endswith("x\r\n")
    assert len(output["stdout"]) < 1_048_700


def test_defect_a18_a_long_stderr_is_not_copied_into_error(host, run):
    def program(command):
        command.err("first words " + "e" * 200_000 + " last words")
        command.exit(2)

    host.programs["x"] = program
    result = run("x")
    assert len(result["error"]) <= 500
    assert result["error"].startswith("first words")
    assert result["error"].endswith("last words")
    assert len(result["output"]["stderr"]) == 200_023


# ---- who logs in ----------------------------------------------------------------------------------------------------


def test_the_test_says_each_step_and_powershells_version(host, run):
    result = run(name="testConnection")
    output = result["output"]
    assert result["status"] == "success", result
    assert (output["host"], output["port"], output["username"]) == ("127.0.0.1", host.port, "admin")
    assert output["psVersion"] == VERSION
    assert VERSION in output["message"]
    assert [(step["step"], step["ok"]) for step in output["steps"]] == [
        ("name", True), ("tcp", True), ("login", True), ("permission", True),
    ]  # fmt: skip
    assert host.shells == {}


@pytest.mark.parametrize("name", ["testConnection", "executeCommand"])
def test_defect_a21_a_wrong_password_is_an_error(host, run, name):
    result = run(name=name, credential=entry(host.port, password="wrong-pass-w0rd"))
    assert result["status"] == "error"
    assert result["exitCode"] == -1
    assert "refused the login of admin by ntlm; check the connection's username and password" in result["error"]
    if name == "testConnection":
        assert [(step["step"], step["ok"]) for step in result["output"]["steps"]][-1] == ("login", False)
    assert host.seen == []


def test_an_account_of_a_domain(host, run):
    host.accounts["CORP\\ann"] = "pass-w0rd-of-ann"
    credential = entry(host.port, username="CORP\\ann", password="pass-w0rd-of-ann")
    assert run(credential=credential)["status"] == "success"
    assert host.logins == [("CORP\\ann", "ntlm")]


def test_an_account_without_rights_is_told_apart_from_a_wrong_password(host, run):
    def denied(handler, envelope):
        raise FaultError(DENIED, "w:AccessDenied", "Access is denied.")

    host.fault["Create"] = denied
    result = run(name="testConnection")
    assert "denied access: the login is right, but the account may not run commands" in result["error"]
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]][-2:] == [
        ("login", True), ("permission", False),
    ]  # fmt: skip


def test_other_faults_are_told_in_the_hosts_words(host, run):
    def full(handler, envelope):
        words = "The maximum number of concurrent shells for this user\nhas been exceeded. " + "Retry later. " * 100
        raise FaultError(QUOTA, "w:QuotaLimit", words)

    host.fault["Create"] = full
    result = run()
    assert (
        f"answered with the fault {QUOTA}: The maximum number of concurrent shells for this user has been"
        in result["error"]
    )
    assert len(result["error"]) < 450
    assert result["exitCode"] == -1


def test_powershell_that_does_not_run_fails_the_permission(host, run):
    def program(command):
        command.err("The term 'powershell' is not recognized")
        command.exit(9009)

    host.programs["$PSVersionTable.PSVersion.ToString()"] = program
    result = run(name="testConnection")
    assert "PowerShell does not run: The term" in result["error"]
    assert result["exitCode"] == -1
    assert result["output"]["steps"][-1]["ok"] is False


# ---- logging -------------------------------------------------------------------------------------------------------


def test_nothing_of_the_library_is_logged(host, run, caplog):
    with caplog.at_level(logging.DEBUG):
        run()
        run(credential=entry(host.port, password="wrong-pass-w0rd"))
        host.fault["Create"] = lambda handler, envelope: handler.answer(500, b"no xml") or False
        run()
    said = [r for r in caplog.records if r.name.split(".")[0] in {"pypsrp", "spnego", "urllib3", "requests"}]
    assert said == []
