"""ssh: whom to believe that it is the server (contract 3.1, defect D8)."""

from __future__ import annotations

import subprocess
import threading

import pytest

from easyalert.host_keys import AgentHostKeys, HostKey
from tests.workers.executors.ssh_fixtures import client, make_server, no_home, place, server, ssh, user

__all__ = ["client", "make_server", "no_home", "place", "server", "ssh", "user"]

pytestmark = pytest.mark.system

KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module")
def other(make_server):
    """Another server with keys of its own, of three kinds."""
    return make_server(host_keys=KINDS)


@pytest.fixture
def unknown(client, other):
    """Its host key stands nowhere."""
    made = client(other)
    bare = made.entry
    made.entry = lambda **more: bare(**{"knownHostsPath": None, **more})
    return made


# ---- the contract's order -------------------------------------------------------------------------------------------


def test_known_hosts_path_comes_first(ssh, client, other, tmp_path):
    """A file that is named counts alone, whatever else is allowed."""
    wrong = ssh.entry(knownHostsPath=str(other.known_hosts()), strictHostKeyChecking=False)
    assert "is not in" in ssh.command("true", entry=wrong)["error"]
    assert ssh.command("true")["status"] == "success"


def test_known_hosts_path_has_to_be_a_whole_path_to_a_plain_file(ssh, tmp_path):
    real = ssh.server.known_hosts()
    link = tmp_path / "link"
    link.symlink_to(real)
    for path, said in (
        ("known_hosts", "whole path"), (f"{real.parent}/../{real.parent.name}/known_hosts", "whole path"),
        (str(link), "symbolic link"), (str(tmp_path / "none"), "No such file"), (str(tmp_path), "is no file"),
    ):  # fmt: skip
        result = ssh.command("true", knownHostsPath=path)
        assert said in result["error"], result
        assert result["exitCode"] == -1
    (tmp_path / "nonsense").write_text("@what secret-thing\n")
    error = ssh.command("true", knownHostsPath=str(tmp_path / "nonsense"))["error"]
    assert "no entry of known_hosts" in error
    assert "secret-thing" not in error


def test_only_false_itself_turns_checking_off(unknown):
    assert unknown.command("true", strictHostKeyChecking=False)["status"] == "success"
    for value in ("false", 0, "no", None, ""):
        assert "nobody knows the host key" in unknown.command("true", strictHostKeyChecking=value)["error"]


@pytest.mark.parametrize(
    "params", [{"strictHostKeyChecking": False}, {"connectionConfig": {"strictHostKeyChecking": False}}]
)
def test_the_job_cannot_turn_checking_off(unknown, params):
    assert "nobody knows the host key" in unknown.command("true", params)["error"]


def test_the_accounts_own_known_hosts(unknown, other, no_home):
    (no_home / ".ssh").mkdir()
    file = no_home / ".ssh" / "known_hosts"
    file.write_text(f"[127.0.0.1]:{other.port} {other.public_key()}\n")
    assert unknown.command("true")["status"] == "success"
    subprocess.run(["ssh-keygen", "-H", "-f", file], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    assert unknown.command("true")["status"] == "success"
    file.write_text(f"[127.0.0.1]:{other.port} ssh-ed25519 {_another_key()}\n")
    assert f"is not in {file}" in unknown.command("true")["error"]


def test_a_revoked_key_is_refused(unknown, other, no_home):
    (no_home / ".ssh").mkdir()
    line = f"[127.0.0.1]:{other.port} {other.public_key()}\n"
    (no_home / ".ssh" / "known_hosts").write_text(f"{line}@revoked {line}")
    assert unknown.command("true")["status"] == "error"


def test_a_host_certificate_of_an_authority_that_is_believed(client, make_server, place, no_home):
    certified = make_server()
    authority = place / "authority"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", authority], check=True)
    key = certified.folder / "host_ed25519.pub"
    subprocess.run(["ssh-keygen", "-q", "-s", authority, "-I", "x", "-h", "-n", "127.0.0.1", key], check=True)
    certified.stop()
    certified._configuration = (f"HostCertificate {certified.folder}/host_ed25519-cert.pub",)
    certified.start()
    known = place / "known_authority"
    known.write_text(f"@cert-authority * {(authority.with_suffix('.pub')).read_text()}")
    result = client(certified).command("true", knownHostsPath=str(known))
    assert result["status"] == "success", result


def test_a_host_nobody_knows_is_refused_with_the_command_that_pins_it(unknown, other):
    """Defect D8: and nothing is sent to it."""
    before = other.log().count("Accepted") + other.log().count("Failed")
    result = unknown.command("true")
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert result["error"].endswith(f"easyalert-agent vault scan-host 127.0.0.1:{other.port}")
    assert other.log().count("Accepted") + other.log().count("Failed") == before


# ---- pins -----------------------------------------------------------------------------------------------------------


def test_a_pinned_key_counts(unknown, other):
    unknown.pins.pin("127.0.0.1", other.port, [HostKey.read(other.public_key("rsa"))])
    result = unknown("testConnection")
    assert result["status"] == "success", result
    assert result["output"]["hostKey"] == other.fingerprint("rsa")


def test_a_pin_counts_for_its_port_only(unknown, other):
    unknown.pins.pin("127.0.0.1", 22, [HostKey.read(other.public_key())])
    assert "nobody knows" in unknown.command("true")["error"]


def test_first_use_pins_all_kinds_and_says_so(tmp_path, unknown, other):
    """Defect D8: with SSH_HOST_KEYS=tofu."""
    told = []
    unknown.pins = AgentHostKeys(tmp_path / "known_hosts", "tofu", lambda name, keys: told.append((name, keys)))
    assert unknown.command("true")["status"] == "success"
    wanted = {other.fingerprint(kind) for kind in KINDS}
    assert {key.fingerprint for key in unknown.pins.of("127.0.0.1", other.port)} == wanted
    assert unknown.command("true")["status"] == "success"
    assert [name for name, _ in told] == [f"[127.0.0.1]:{other.port}"]
    assert (tmp_path / "known_hosts").stat().st_mode & 0o777 == 0o600


def test_a_key_that_changed_after_the_first_use_is_refused(tmp_path, unknown, other, user):
    unknown.pins = AgentHostKeys(tmp_path / "known_hosts", "tofu", lambda _name, _keys: None)
    assert unknown.command("true")["status"] == "success"
    former = other.fingerprint()
    other.new_host_keys()
    other.restart()
    result = unknown.command("true", privateKey=None, password=user.password)
    assert result["status"] == "error"
    for part in (
        former,
        other.fingerprint(),
        "so nothing was sent",
        f"vault scan-host 127.0.0.1:{other.port} --replace",
    ):
        assert part in result["error"], (part, result)
    assert "Accepted" not in other.log()
    assert "Failed" not in other.log()


def test_a_key_of_another_kind_than_those_pinned_is_refused(client, make_server, user):
    only = client(make_server(host_keys=("rsa",)))
    only.pins.pin("127.0.0.1", only.server.port, [HostKey.read(f"ssh-ed25519 {_another_key()}")])
    entry = {
        "host": "127.0.0.1", "port": only.server.port, "username": user.name, "password": user.password,
    }  # fmt: skip
    assert "is not the one this agent has pinned" in only.command("true", entry=entry)["error"]


def test_two_first_uses_at_once_pin_one_set(tmp_path, other):
    pins = [AgentHostKeys(tmp_path / "pins", "tofu", lambda _name, _keys: None) for _ in range(8)]
    keys = [HostKey.read(f"ssh-ed25519 {_another_key()}") for _ in pins]
    got = []
    threads = [
        threading.Thread(target=lambda p=p, k=k: got.append(p.pin("web-1", 22, [k])))
        for p, k in zip(pins, keys, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found == got[0] for found in got)
    assert len((tmp_path / "pins").read_text().splitlines()) == 1


def _another_key():
    import asyncssh

    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[1]
