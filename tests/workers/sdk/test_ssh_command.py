"""ssh: time-out and cancelling end what runs on the other host, or the result says that it may run on (B1, B2, A23)."""

from __future__ import annotations

import contextlib
import threading

import psutil
import pytest

from tests.support.ssh_server import account, own_ssh_server
from tests.support.waiting import eventually
from tests.workers.executors.ssh_fixtures import Client, client, make_server, no_home, place, server, ssh, user
from workers.executors.ssh import Ssh
from workers.sdk.harness import Harness

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system

TREE = "trap '' TERM; echo begun; sleep 311 & setsid sleep 312 & sh -c 'sleep 313; :' ; sleep 314"


def _named(user):
    """The sleeps of these tests that run."""
    found = []
    for process in user.processes():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            if line[:1] == ["sleep"] and line[1].startswith("31"):
                found.append(line[1])
    return found


def wait_for_the_tree(user):
    return lambda: len(_named(user)) >= 3


def test_a_time_out_ends_the_whole_tree_and_keeps_the_output(ssh, user):
    """Defects A23, B1, B2: also what ignores SIGTERM, what has a session of its own, and what is in the background."""
    result = ssh.command(TREE, {"timeout": 4})
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert ssh.ran.result.outcome == "timed_out"
    assert "timed out after 4 seconds: the command was ended" in result["error"], result
    assert result["output"]["stdout"] == "begun\n"
    assert _named(user) == []


def test_the_jobs_own_limit_ends_it_too(ssh, user):
    result = ssh.command(TREE, {"timeout": 300}, timeout_s=12)
    assert ssh.ran.result.outcome == "timed_out"
    assert result["output"]["stdout"] == "begun\n"
    eventually(lambda: _named(user) == [], within=30)


def test_cancelling_ends_it(ssh, user):
    result = ssh.command(
        "echo begun; sleep 311; echo never", {"timeout": 50}, cancelled=lambda: _named(user) == ["311"]
    )
    assert ssh.ran.result.outcome == "cancelled"
    assert result["exitCode"] == -1
    assert result["error"].startswith("cancelled: the command was")
    assert result["output"]["stdout"] == "begun\n"
    eventually(lambda: _named(user) == [], within=30)


def test_cancelling_what_ignores_sigterm_kills_it_after_the_grace(ssh, user):
    ssh.command(TREE, {"timeout": 50}, cancelled=wait_for_the_tree(user))
    assert ssh.ran.result.outcome == "cancelled"
    eventually(lambda: _named(user) == [], within=60)


def test_a_script_is_ended_with_its_file(ssh, user):
    result = ssh.script("echo $0\n" + TREE, {"timeout": 4})
    assert "the command was ended" in result["error"], result
    assert _named(user) == []
    file = result["output"]["stdout"].splitlines()[0]
    assert not ssh.exists(file.rpartition("/")[0])


def test_commands_of_other_connections_go_on(ssh, client, server, user):
    other = client(server)
    thread = threading.Thread(target=lambda: other.command("sleep 319; true", {"timeout": 30}))
    thread.start()
    eventually(lambda: _named(user) == ["319"], within=60)
    ssh.command("sleep 311", {"timeout": 1})
    assert _named(user) == ["319"]
    for process in user.processes():
        with contextlib.suppress(psutil.Error):
            if process.name() == "sleep":
                process.kill()
    thread.join()
    assert other.ran.recorded["status"] == "success"


def test_without_a_second_channel_the_signal_of_ssh_does_it(client, make_server, user):
    single = client(make_server("MaxSessions 1"))
    result = single.command("exec sleep 311", {"timeout": 4})
    assert "timed out after 4 seconds: the command was ended by a signal of SSH" in result["error"], result
    eventually(lambda: _named(user) == [], within=30)


def test_what_a_signal_of_ssh_does_not_reach_is_said(tmp_path, place, make_server):
    """One channel, and what runs belongs to root and ignores what sudo passes on."""
    single = make_server("MaxSessions 1")
    with account(place / "trusted_home", sudo="ALL=(ALL) NOPASSWD: ALL") as trusted:
        command = "exec sudo -n sh -c \"trap '' TERM; exec sleep 316\""
        result = Client(tmp_path, single, trusted).command(command, {"timeout": 4})
        assert "what it had started may still run" in result["error"], result
        running = [p for p in psutil.process_iter(["cmdline"]) if (p.info["cmdline"] or [])[-2:] == ["sleep", "316"]]
        assert running
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.kill()


def test_what_cannot_be_ended_is_said(tmp_path):
    """A server that knows no signals and has no shell."""

    async def handle(process):
        if process.command == "wait":
            process.stdout.write(b"begun\n")
            await process.stdin.channel.wait_closed()
        process.channel.close()

    with own_ssh_server(handle) as entry:
        harness = Harness(Ssh(), tmp_path, credential=entry, cancel_grace_s=1.0)
        ran = harness.run("executeCommand", {"command": "wait", "timeout": 1})
    assert ran.result.outcome == "timed_out"
    assert "could not be ended there and may still run" in ran.error
    assert ran.recorded["output"]["stdout"] == "begun\n"


def test_no_session_at_all(client, make_server):
    none = client(make_server("MaxSessions 0"))
    result = none.command("true")
    assert "does not run commands over this connection" in result["error"]
    assert "nothing was run" in result["error"]
