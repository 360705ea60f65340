"""Logging in with ssh: passwords, keys in every form, and nothing of the agent's own account (contract 3.1)."""

from __future__ import annotations

import socket

import asyncssh
import pytest

from tests.support.ssh_server import PASSPHRASE
from tests.workers.executors.ssh_fixtures import client, make_server, no_home, place, server, ssh, user
from workers.executors.ssh import Ssh
from workers.sdk.harness import Harness

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system


def test_a_password(ssh, user):
    assert ssh.command("true", privateKey=None, password=user.password)["status"] == "success"
    assert "Accepted password" in ssh.server.log()


def test_keyboard_interactive(client, make_server, user):
    asks = client(make_server("PasswordAuthentication no", "KbdInteractiveAuthentication yes"))
    assert asks.command("true", privateKey=None, password=user.password)["status"] == "success"
    assert "keyboard-interactive" in asks.server.log()


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_keys_in_every_form(client, make_rsa, form, passphrase):
    key = make_rsa.private_key(form=form, passphrase=passphrase)
    uses = client(make_rsa)
    for text in (key, key.replace("\n", "\r\n"), "\n" + key.strip()):
        result = uses.command("true", privateKey=text, passphrase=passphrase)
        assert result["status"] == "success", result


@pytest.fixture(scope="module")
def make_rsa(make_server):
    made = make_server()
    made.stop()
    made.key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    return made.start()


def test_a_wrong_passphrase_and_a_missing_one(ssh):
    key = ssh.server.private_key(passphrase=PASSPHRASE)
    result = ssh.command("true", privateKey=key, passphrase="not that")
    assert "'passphrase' does not open the 'privateKey'" in result["error"]
    assert result["exitCode"] == -1
    assert "add its 'passphrase'" in ssh.command("true", privateKey=key)["error"]


def test_what_is_no_key(ssh):
    for text in (
        "secret-that-is-no-key",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
    ):
        error = ssh.command("true", privateKey=text)["error"]
        assert "is no private key in PEM or OpenSSH form" in error
        assert "secret-that" not in error


def test_a_blank_key_counts_as_absent(ssh, user):
    assert ssh.command("true", privateKey=" ", password=user.password)["status"] == "success"


def test_without_key_and_password_nothing_of_this_machine_is_used(ssh, no_home, server):
    """Deviation from what the contract infers: identity files and configuration of the agent's account do not count."""
    (no_home / ".ssh").mkdir()
    (no_home / ".ssh" / "id_ed25519").write_text(server.private_key())
    (no_home / ".ssh" / "config").write_text(f"Host *\n  IdentityFile {no_home}/.ssh/id_ed25519\n")
    result = ssh.command("true", privateKey=None)
    assert "neither 'privateKey' nor 'password'" in result["error"]
    assert result["exitCode"] == -1


def test_an_agent_of_the_account_is_not_asked(ssh, tmp_path, monkeypatch):
    path = tmp_path / "agent"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        agent.setblocking(False)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        ssh.command("true", privateKey=None)
        ssh.command("true", privateKey=None, password="wrong-password")
        assert ssh.command("true")["status"] == "success"
        with pytest.raises(BlockingIOError):
            agent.accept()


def test_a_refused_log_in_says_whose(ssh, user):
    result = ssh.command("true", privateKey=None, password="wrong-password")
    assert f"refused the log-in of {user.name} with this password" in result["error"]


def test_the_key_wins_over_the_password(ssh, user):
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    assert "with this key" in ssh.command("true", privateKey=other, password=user.password)["error"]


def test_a_missing_entry_and_a_missing_host(tmp_path):
    ran = Harness(Ssh(), tmp_path).run("executeCommand", {"command": "true"})
    assert "no credential" in ran.error
    ran = Harness(Ssh(), tmp_path, credential={"password": "p4ssw0rd"}).run("executeCommand", {"command": "true"})
    assert "'host'" in ran.error
