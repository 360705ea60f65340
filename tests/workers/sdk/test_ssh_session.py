"""ssh through a jump host, and leaving: nothing stays open."""

from __future__ import annotations

import psutil
import pytest

from easyalert.host_keys import AgentHostKeys, HostKey
from tests.support.ports import free_port
from tests.support.raw_tcp import served
from tests.workers.executors.ssh_fixtures import client, make_server, no_home, place, server, ssh, user
from workers.sdk.harness import CONNECTION_ID

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def other(make_server):
    """Another server, to go through."""
    return make_server()


def jump(other, **more):
    return {"host": "127.0.0.1", "port": other.port, "knownHostsPath": str(other.known_hosts()), **more}


def test_through_a_jump_host(ssh, other, user):
    """Logged in to with its own credential."""
    own = jump(other, username=user.name, privateKey=other.private_key())
    result = ssh("testConnection", jumpHost=own)
    assert result["status"] == "success", result
    assert [step["step"] for step in result["output"]["steps"]] == ["name", "tcp", "login", "login", "permission"]
    assert "jump host" in result["output"]["steps"][2]["detail"]
    assert result["output"]["hostKey"] == ssh.server.fingerprint()
    assert ssh.command("echo $SSH_CONNECTION", jumpHost=own)["status"] == "success"
    assert ssh.script("echo it works", jumpHost=own)["output"]["stdout"] == "it works\n"


def test_a_jump_host_by_name_is_logged_in_to_as_the_server_is(ssh, other, user):
    ssh.pins.pin("127.0.0.1", other.port, [HostKey.read(other.public_key())])
    result = ssh.command("true", jumpHost=f"127.0.0.1:{other.port}", privateKey=None, password=user.password)
    assert result["status"] == "success", result


def test_the_jump_hosts_key_is_checked(ssh, other, user):
    result = ssh.command("true", jumpHost=f"127.0.0.1:{other.port}", privateKey=None, password=user.password)
    assert f"nobody knows the host key of [127.0.0.1]:{other.port}" in result["error"]


def test_a_host_behind_a_jump_host_that_nobody_knows(ssh, other, user):
    """It cannot be scanned from here: the command says how, given the connection."""
    own = jump(other, username=user.name, privateKey=other.private_key())
    error = ssh.command("true", knownHostsPath=None, jumpHost=own)["error"]
    assert f"nobody knows the host key of [127.0.0.1]:{ssh.server.port}" in error
    assert error.endswith(f"easyalert-agent vault scan-host {CONNECTION_ID}")


def test_first_use_through_a_jump_host(tmp_path, ssh, other, server, user):
    ssh.pins = AgentHostKeys(tmp_path / "known_hosts", "tofu", lambda _name, _keys: None)
    entry = ssh.entry(knownHostsPath=None, privateKey=None, password=user.password, jumpHost=f"127.0.0.1:{other.port}")
    assert ssh.command("true", entry=entry)["status"] == "success"
    assert [key.fingerprint for key in ssh.pins.of("127.0.0.1", server.port)] == [server.fingerprint()]


def test_a_jump_host_that_does_not_get_there(ssh, other, user):
    own = jump(other, username=user.name, privateKey=other.private_key())
    error = ssh.command("true", jumpHost=own, port=free_port())["error"]
    assert "the jump host did not reach 127.0.0.1" in error


def test_cloud_metadata_is_not_reached_through_a_jump_host(ssh, other, user):
    own = jump(other, username=user.name, privateKey=other.private_key())
    assert "metadata" in ssh.command("true", jumpHost=own, host="169.254.169.254")["error"]
    assert "metadata" in ssh.command("true", jumpHost="169.254.169.254")["error"]


@pytest.mark.parametrize("value", [7, ["x"], {"port": 22}, {"host": "a\n"}, {"host": "x", "port": 99999}])
def test_a_jump_host_that_cannot_be_read(ssh, value):
    error = ssh.command("true", jumpHost=value)["error"]
    assert "jumpHost" in error


def test_the_job_names_no_jump_host(ssh):
    """It would get the credential."""
    seen = []
    with served(seen.append) as (port, _):
        assert ssh.command("true", {"jumpHost": f"127.0.0.1:{port}"})["status"] == "success"
    assert seen == []


def test_nothing_stays_open(ssh, other, user):
    """Neither of a success nor of a failure, at either host."""
    own = jump(other, username=user.name, privateKey=other.private_key())
    before = len(psutil.Process().net_connections("tcp"))
    ssh.command("true", jumpHost=own)
    ssh.command("exit 3", jumpHost=own)
    ssh.command("true", privateKey=None, password="wrong-password")
    ssh.command("sleep 30", {"timeout": 1}, jumpHost=own)
    assert len(psutil.Process().net_connections("tcp")) == before
