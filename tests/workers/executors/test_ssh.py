"""The ssh executor against a real sshd (contract 3.1): commands, output, ends, log-in."""

from __future__ import annotations

import threading
from typing import ClassVar

import asyncssh
import psutil
import pytest

from tests.support.ports import free_port
from tests.support.raw_tcp import rest, served
from tests.support.ssh_server import own_ssh_server
from tests.support.waiting import eventually
from tests.workers.executors.ssh_fixtures import client, make_server, no_home, place, server, ssh, user
from workers.executors.ssh import Ssh
from workers.sdk import ssh_session
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = Ssh
    samples: ClassVar = {
        "executeCommand": {"command": "true"},
        "executeScript": {"script": "true"},
        "testConnection": {},
    }

    def harness(self, tmp_path):
        entry = {"host": "127.0.0.1", "port": 1, "password": "p4ssw0rd", "strictHostKeyChecking": False}
        return Harness(self.executor(), tmp_path, credential=entry)


# ---- a command ------------------------------------------------------------------------------------------------------


def test_a_command_runs_in_the_accounts_own_shell(ssh, user):
    result = ssh.command("echo out; echo err >&2; [[ $(id -un) == $USER ]] && pwd; readlink /proc/self/fd/0")
    assert (result["status"], result["exitCode"], result["error"]) == ("success", 0, None), result
    lines = result["output"]["stdout"].splitlines()
    assert lines[:2] == ["out", str(user.home)]
    assert result["output"]["stderr"] == "err\n"
    assert result["output"]["truncated"] is False


def test_a_command_gets_no_input(ssh):
    assert ssh.command("cat; echo over")["output"]["stdout"] == "over\n"


def test_an_exit_code_and_its_stderr(ssh):
    result = ssh.command("echo gone wrong >&2; exit 7")
    assert (result["status"], result["exitCode"], result["error"]) == ("error", 7, "gone wrong")


def test_a_failure_without_stderr_says_the_code(ssh):
    """Defect A23: no error is empty."""
    assert ssh.command("exit 3")["error"] == "exit code 3, nothing on stderr"


def test_a_death_by_a_signal_is_named(ssh):
    result = ssh.command("kill -KILL $$")
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "SIGKILL" in result["error"]


def test_bytes_that_are_no_text_are_replaced(ssh):
    """Defect A2."""
    result = ssh.command(r"printf 'caf\351\n'; printf '\377 oops\n' >&2")
    assert result["output"]["stdout"] == "caf\ufffd\n"
    assert result["output"]["stderr"] == "\ufffd oops\n"


def test_a_long_error_is_short_in_the_result_and_whole_in_the_output(ssh):
    """Defect A18."""
    result = ssh.command("seq 100000 >&2; exit 1")
    assert len(result["error"]) <= 500
    assert result["output"]["stderr"].endswith("\n99999\n100000\n")


def test_huge_output_keeps_head_and_tail_in_little_memory(ssh):
    """Defects A17 and B7: 60 MB."""
    process = psutil.Process()
    before, most = process.memory_info().rss, 0
    over = threading.Event()

    def watch():
        nonlocal most
        while not over.wait(0.05):
            most = max(most, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        result = ssh.command(
            "echo first; head -c 60000000 /dev/zero | tr '\\0' x | fold -w 1000; echo last", {"timeout": 300},
            timeout_s=310,
        )  # fmt: skip
    finally:
        over.set()
        watching.join()
    assert result["status"] == "success", result["error"]
    assert result["output"]["truncated"] is True
    assert result["output"]["originalStdoutSize"] == 60_000_000 + 60_000 - 1 + len("first\nlast\n")
    assert result["output"]["stdout"].startswith("first\n")
    assert result["output"]["stdout"].endswith("last\n")
    assert most - before < 40_000_000


def test_what_a_command_leaves_running_does_not_hold_its_result(ssh, user):
    """Its pipes stay open, but its end is known: the result is there before they close."""
    result = ssh.command("sleep 61 & echo started", {"timeout": 200}, timeout_s=210)
    assert result["status"] == "success", result
    assert result["output"]["stdout"] == "started\n"
    assert [p for p in user.processes() if "61" in p.cmdline()]


def test_output_is_followed_while_it_runs(ssh):
    """Live output: the first line is out before the command ends, and that end waits for it."""
    seen = threading.Event()
    fed = []

    class Live:
        def feed(self, stream, data):
            fed.append((stream, data))
            if b"first" in b"".join(data for _, data in fed):
                seen.set()

        def wait(self):
            return None

        def tick(self):
            pass

    go = ssh.user.home / "go"
    go.unlink(missing_ok=True)
    thread = threading.Thread(target=lambda: (seen.wait(60), go.touch()))
    thread.start()
    result = ssh.command(f"echo first; seq 5000; until [ -e {go} ]; do sleep 0.05; done; echo second", live=Live())
    thread.join()
    assert result["output"]["stdout"].endswith("5000\nsecond\n")
    assert b"".join(data for stream, data in fed if stream == "stdout").decode() == result["output"]["stdout"]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"command": " "}, "command"), ({"command": "a\0b"}, "command"), ({"command": ["x"]}, "command"),
        ({"command": "\ud800"}, "command"), ({"command": "true", "timeout": -1}, "timeout"),
        ({"command": "true", "sudo": "perhaps"}, "sudo"), ({"command": "true", "sudoUser": "root\n"}, "sudoUser"),
        ({"command": "true", "sudoUser": "-u"}, "sudoUser"), ({"command": "true", "sudoUser": "a b"}, "sudoUser"),
    ],
)  # fmt: skip
def test_bad_parameters_are_named(ssh, params, name):
    result = ssh("executeCommand", params)
    assert result["exitCode"] == -1
    assert f"'{name}'" in result["error"]


# ---- the end nobody told --------------------------------------------------------------------------------------------


def test_a_connection_that_drops_is_no_success(ssh, server, user):
    """Defect A1: the session's process is killed in mid-command."""
    mark = user.home / "running"
    mark.unlink(missing_ok=True)
    dropping = threading.Thread(target=lambda: (eventually(mark.exists, within=60), server.drop_connections()))
    dropping.start()
    result = ssh.command(f"echo begun; touch {mark}; sleep 60")
    dropping.join()
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "lost" in result["error"]
    assert "may have taken effect, or may still run" in result["error"]
    assert result["output"]["stdout"] == "begun\n"


def test_a_peer_that_falls_silent_is_noticed(ssh, server, user, monkeypatch):
    """Defect A1, without a word from the network: as when the host's power is cut, or a firewall drops all."""
    monkeypatch.setattr(ssh_session, "KEEPALIVE_S", 1)
    mark = user.home / "falls_silent"
    mark.unlink(missing_ok=True)

    def stop():
        eventually(mark.exists, within=60)
        for process in server.sessions():
            process.suspend()

    stopping = threading.Thread(target=stop)
    stopping.start()
    result = ssh.command(f"echo begun; touch {mark}; sleep 60", {"timeout": 50})
    stopping.join()
    server.drop_connections()
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "the connection was lost" in result["error"]
    assert result["output"]["stdout"] == "begun\n"


@pytest.mark.parametrize("params", [{}, {"sudo": True}])
def test_a_channel_that_closes_without_a_status_is_no_success(tmp_path, params):
    """Defect A1: a server that tells no exit status. A real sshd always does."""

    async def handle(process):
        process.stdout.write(b"half")
        process.channel.close()

    with own_ssh_server(handle) as entry:
        ran = Harness(Ssh(), tmp_path, credential=entry).run("executeCommand", {"command": "true", **params})
        tested = Harness(Ssh(), tmp_path, credential=entry).run("testConnection", {})
    assert ran.recorded["status"] == "error"
    assert "closed the channel" in ran.error
    assert "may have taken effect" in ran.error
    assert tested.recorded["status"] == "error"
    assert [step["ok"] for step in tested.recorded["output"]["steps"]] == [True, True, True, False]


def test_a_script_whose_channel_closes_before_it_was_sent_was_not_run(tmp_path):
    async def handle(process):
        process.channel.close()

    with own_ssh_server(handle) as entry:
        ran = Harness(Ssh(), tmp_path, credential=entry).run("executeScript", {"script": "true"})
    assert "nothing was run" in ran.error
    assert "may have" not in ran.error


def test_a_request_that_is_not_answered_may_have_taken_effect(tmp_path):
    """The channel is open, the command was sent, and no word comes."""
    released = threading.Event()

    class Mute(asyncssh.SSHServerSession):
        def exec_requested(self, command):
            released.wait(60)
            return False

    with own_ssh_server(session=Mute) as entry:
        try:
            harness = Harness(Ssh(), tmp_path, credential=entry)
            ran = harness.run("executeCommand", {"command": "true", "timeout": 1})
        finally:
            released.set()
    assert ran.result.outcome == "timed_out"
    assert "may have taken effect, or may still run" in ran.error


# ---- the network ----------------------------------------------------------------------------------------------------


def test_a_refused_connection(ssh):
    result = ssh.command("true", port=free_port())
    assert "Connection refused" in result["error"]
    assert result["exitCode"] == -1


def test_cloud_metadata_is_never_reached(ssh):
    assert "metadata" in ssh.command("true", host="169.254.169.254")["error"]


@pytest.mark.parametrize("where", [{"host": "localhost"}, {"connectionConfig": {"host": "localhost"}}])
def test_the_job_sends_the_credential_to_no_other_host(ssh, where):
    """Defect C2."""
    result = ssh.command("true", where)
    assert "belongs to 127.0.0.1 and is not sent to localhost" in result["error"]
    assert result["exitCode"] == -1


def test_what_does_not_speak_ssh(ssh):
    with served(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as (port, _):
        error = ssh.command("true", port=port, knownHostsPath=None, strictHostKeyChecking=False)["error"]
    assert "no SSH log-in" in error


def test_nothing_is_unpacked(tmp_path):
    """A server could send a few packets that unfold to all the memory there is; one that will not do without is left."""

    async def handle(process):
        process.exit(0)

    with own_ssh_server(handle, compression_algs=["zlib@openssh.com"]) as entry:
        ran = Harness(Ssh(), tmp_path, credential=entry).run("executeCommand", {"command": "true"})
    assert "no SSH log-in" in ran.error


def test_a_server_that_says_nothing(ssh):
    with served(rest) as (port, _):
        result = ssh("testConnection", {"timeout": 1}, port=port, knownHostsPath=None, strictHostKeyChecking=False)
    assert "did not finish the SSH log-in within 1 s" in result["error"]
    assert [step["step"] for step in result["output"]["steps"]] == ["name", "tcp", "login"]


def test_a_server_that_is_asked_for_longer_than_the_job_may_take(ssh):
    """Partial output: the steps so far."""
    with served(rest) as (port, _):
        result = ssh(
            "testConnection", {"timeout": 60}, port=port, knownHostsPath=None, strictHostKeyChecking=False, timeout_s=3
        )  # fmt: skip
    assert ssh.ran.result.outcome == "timed_out"
    assert result["exitCode"] == -1
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]] == [
        ("name", True), ("tcp", True), ("login", False),
    ]  # fmt: skip


# ---- the test of a connection ---------------------------------------------------------------------------------------


def test_the_test_says_each_step(ssh, server, user):
    result = ssh("testConnection")
    assert result["status"] == "success", result
    output = result["output"]
    assert (output["host"], output["port"], output["username"]) == ("127.0.0.1", server.port, user.name)
    assert output["hostKey"] == server.fingerprint()
    assert [(step["step"], step["ok"]) for step in output["steps"]] == [
        ("name", True), ("tcp", True), ("login", True), ("permission", True),
    ]  # fmt: skip
    assert user.name in output["message"]


def test_the_test_succeeds_whatever_the_status(client, make_server):
    """Contract 3.1."""
    forced = client(make_server("ForceCommand exit 4"))
    result = forced("testConnection")
    assert result["status"] == "success"
    assert "did not end well there (exit code 4)" in result["output"]["message"]


def test_the_test_says_when_nobody_checked_the_host_key(ssh):
    result = ssh("testConnection", knownHostsPath=None, strictHostKeyChecking=False)
    assert "its host key was not checked" in result["output"]["message"]
    assert "not checked" not in ssh("testConnection")["output"]["message"]


def test_the_test_of_a_wrong_password_fails_at_the_log_in(ssh):
    result = ssh("testConnection", privateKey=None, password="wrong-password")
    assert result["status"] == "error"
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]][-1] == ("login", False)
