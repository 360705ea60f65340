"""ssh.executeScript and sudo, against a real sshd and the real sudo."""

from __future__ import annotations

import contextlib
import threading

import psutil
import pytest

from tests.support.require import require_program
from tests.support.ssh_server import account
from tests.support.waiting import eventually
from tests.workers.executors.ssh_fixtures import Client, client, make_server, no_home, place, server, ssh, user

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system

SHOWS = 'stat -c "%a %U" "$0" "$(dirname "$0")"; echo "$0"; umask'


def test_a_script_lies_in_a_private_folder_that_is_gone_afterwards(ssh, user):
    """Defect C15."""
    result = ssh.script(SHOWS)
    assert result["status"] == "success", result
    file, folder, name, mask = result["output"]["stdout"].splitlines()
    assert (file, folder) == (f"700 {user.name}", f"700 {user.name}")
    assert name.startswith("/tmp/easyalert_")
    assert len(name.split("/")[2]) == len("easyalert_") + 32
    assert mask == "0022"
    assert not ssh.exists(name.rpartition("/")[0])


def test_the_folder_is_gone_when_the_connection_drops(ssh, server, user):
    """Defect C15: in mid-script; what has been started may end, and takes its folder with it."""
    mark = user.home / "script_runs"
    go = user.home / "script_may_end"
    dropping = threading.Thread(target=lambda: (eventually(mark.exists, within=60), server.drop_connections()))
    dropping.start()
    result = ssh.script(f'echo "$0" > {mark}.name; touch {mark}; until [ -e {go} ]; do sleep 0.05; done')
    dropping.join()
    assert "may have taken effect, or may still run" in result["error"]
    folder = (user.home / "script_runs.name").read_text().strip().rpartition("/")[0]
    assert ssh.exists(folder)
    go.touch()
    eventually(lambda: not ssh.exists(folder), within=30)


@pytest.mark.parametrize(
    ("interpreter", "text"),
    [
        ("/bin/sh", "echo it works"), ("/bin/bash", "[[ 1 ]] && echo it works"), ("/usr/bin/env", "#!/bin/sh\necho it works"),
        ("/usr/bin/perl", 'print "it works\\n";'), ("/usr/bin/python3", 'print("it works")'),
    ],
)  # fmt: skip
def test_interpreters(ssh, interpreter, text):
    if interpreter.endswith("python3"):
        require_program("/usr/bin/python3", package="python3")
    assert ssh.script(text, {"interpreter": interpreter})["output"]["stdout"] == "it works\n"


@pytest.mark.parametrize("interpreter", ["bash", "/bin/zsh", "/bin/bash ", "/bin/bash\n", "/bin/bash; id"])
def test_other_interpreters_are_refused(ssh, interpreter):
    assert "'interpreter'" in ssh.script("true", {"interpreter": interpreter})["error"]


def test_an_empty_script_and_a_large_one(ssh):
    assert ssh.script("")["status"] == "success"
    large = "#" * 1_000_000 + "\necho 'it''s all there'\n"
    assert ssh.script(large)["output"]["stdout"] == "its all there\n"


def test_a_scripts_exit_code_and_bytes(ssh):
    result = ssh.script("printf 'caf\\351\\n'; echo wrong >&2; exit 9")
    assert (result["exitCode"], result["error"], result["output"]["stdout"]) == (9, "wrong", "caf\ufffd\n")
    # the shell around it tells of a signal as shells do
    assert ssh.script("kill -KILL $$ >&2")["exitCode"] == 137
    assert "SIGTERM" in ssh.script("exit 143")["error"]


def test_without_sftp(client, make_server):
    """The contract's way needs it; ours does not."""
    none = client(make_server("Subsystem other /bin/false"))
    assert none.script("echo it works")["output"]["stdout"] == "it works\n"


def test_a_script_that_cannot_be_put_there(ssh, client, make_server):
    """No shell behind the login: nothing was run, and the result says so."""
    forced = client(make_server("ForceCommand echo no shell here >&2; exit 1"))
    result = forced.script("echo never")
    assert "nothing was run: no shell here" in result["error"]
    assert result["exitCode"] == 1


# ---- sudo -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(place):
    with account(place / "wheel", sudo="ALL=(ALL) ALL") as made:
        yield made


@pytest.fixture(scope="module")
def trusted(place):
    with account(place / "trusted", sudo="ALL=(ALL) NOPASSWD: ALL") as made:
        yield made


@pytest.fixture
def as_wheel(tmp_path, server, wheel):
    return Client(tmp_path, server, wheel)


@pytest.fixture
def as_trusted(tmp_path, server, trusted):
    return Client(tmp_path, server, trusted)


def test_sudo_with_the_password_of_the_vault(as_wheel, wheel):
    result = as_wheel.command("id -un; cat", {"sudo": True}, sudoPassword=wheel.password)
    assert result["status"] == "success", result
    assert result["output"] == {"stdout": "root\n", "stderr": "", "truncated": False}


def test_a_script_through_sudo(as_wheel, wheel):
    result = as_wheel.script(SHOWS, {"sudo": True}, sudoPassword=wheel.password)
    assert result["status"] == "success", result
    assert result["output"]["stdout"].splitlines()[0] == "700 root"
    assert not as_wheel.exists(result["output"]["stdout"].splitlines()[2].rpartition("/")[0])


def test_sudo_as_somebody_else(as_wheel, wheel):
    result = as_wheel.command("id -un", {"sudo": True, "sudoUser": "nobody"}, sudoPassword=wheel.password)
    assert result["output"]["stdout"] == "nobody\n"


def test_a_sudo_password_that_nobody_asks_for_is_not_sent(as_trusted, trusted):
    """Else the command could read it."""
    secret = "sudo-password-nobody-wants"
    result = as_trusted.script("cat; id -un; tr '\\0' ' ' < /proc/$PPID/cmdline", {"sudo": True}, sudoPassword=secret)
    assert result["status"] == "success", result
    assert result["output"]["stdout"].startswith("root\n")
    assert "redactions" not in result["output"]


def test_the_password_is_in_no_process_list(as_wheel, wheel):
    result = as_wheel.command(
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'", {"sudo": True}, sudoPassword=wheel.password
    )
    assert result["output"]["stdout"]
    assert "redactions" not in result["output"]


def test_a_wrong_sudo_password(as_wheel):
    result = as_wheel.script("touch /tmp/never", {"sudo": True}, sudoPassword="wrong-sudo-password")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert "did not take the password, so nothing was run: check 'sudoPassword'" in result["error"]


def test_a_sudo_password_is_one_line(as_wheel, wheel):
    """What came after a line break would be the script's."""
    result = as_wheel.script("true", {"sudo": True}, sudoPassword=f"{wheel.password}\nid\n")
    assert "'sudoPassword' holds a line break" in result["error"]
    assert result["exitCode"] == -1


def test_sudo_that_wants_a_password_there_is_none(as_wheel, wheel):
    """The log-in's own is not tried."""
    result = as_wheel.command("true", {"sudo": True}, privateKey=None, password=wheel.password)
    assert result["exitCode"] == 1
    assert "add it as 'sudoPassword'" in result["error"]


def test_sudo_for_somebody_who_may_not(ssh, user):
    require_program("sudo", package="sudo")
    result = ssh.command("true", {"sudo": True}, sudoPassword=user.password)
    assert result["exitCode"] == 1
    assert "nothing was run" in result["error"]
    assert "sudoers" in result["error"] or "may not" in result["error"], result["error"]


def test_a_time_out_ends_what_sudo_runs(as_wheel, wheel):
    result = as_wheel.command(
        "echo begun; sleep 317; sleep 317", {"sudo": True, "timeout": 8}, sudoPassword=wheel.password
    )
    assert "the command was ended" in result["error"], result
    assert result["output"]["stdout"] == "begun\n"
    eventually(lambda: not _run_of(["sleep", "317"]), within=30)


def _run_of(line):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cmdline() == line:
                found.append(process)
    return found


def test_exit_codes_come_through_sudo(as_trusted):
    result = as_trusted.command("echo wrong >&2; exit 5", {"sudo": True})
    assert (result["exitCode"], result["error"]) == (5, "wrong")
