"""vault scan-host, against a real sshd (defect D8)."""

from __future__ import annotations

import json
import subprocess

import pytest

from easyalert.settings import load_settings
from tests.cli.vault_fixtures import SECRET, cheap_derivation, run, store
from tests.support.ports import free_port
from tests.support.require import require_program
from tests.support.ssh_server import ssh_server

__all__ = ["cheap_derivation", "run", "store"]

pytestmark = pytest.mark.system
KINDS = ("ed25519", "ecdsa", "rsa")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("sshd"), host_keys=KINDS) as made:
        yield made


@pytest.fixture
def target(server):
    return f"127.0.0.1:{server.port}"


def pinned(tmp_path):
    file = tmp_path / "known_hosts"
    return file.read_text().splitlines() if file.exists() else []


def test_keys_are_shown_and_pinned_with_yes(run, server, target, tmp_path):
    code, out, _ = run("scan-host", target, "--yes")
    assert code == 0
    for kind in KINDS:
        assert server.fingerprint(kind) in out
    assert sorted(pinned(tmp_path)) == sorted(f"[127.0.0.1]:{server.port} {server.public_key(kind)}" for kind in KINDS)
    assert (tmp_path / "known_hosts").stat().st_mode & 0o777 == 0o600
    assert "already" in run("scan-host", target, "--yes")[1]


def test_what_is_pinned_is_what_openssh_reads(run, server, target, tmp_path):
    run("scan-host", target, "--yes")
    found = subprocess.run(
        [require_program("ssh-keygen", package="openssh-client"), "-F", f"[127.0.0.1]:{server.port}", "-f", tmp_path / "known_hosts"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.count("# Host") == 3


def test_nothing_is_pinned_without_a_word(run, target, tmp_path):
    code, out, err = run("scan-host", target)
    assert code == 2
    assert "SHA256:" in out
    assert "ssh-keygen -lf" in out
    assert "--yes" in err
    assert pinned(tmp_path) == []
    code, out, _ = run("scan-host", target, "--json")
    assert code == 0
    assert json.loads(out)["pinned"] is False
    assert pinned(tmp_path) == []


def test_a_connection_of_the_vault(run, store, server, tmp_path):
    store.put("web-1", {"host": "127.0.0.1", "port": server.port, "password": SECRET})
    code, out, _ = run("scan-host", "web-1", "--yes", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["host"] == f"[127.0.0.1]:{server.port}"
    assert report["pinned"] is True
    assert {"type": "ssh-ed25519", "fingerprint": server.fingerprint()} in report["keys"]
    assert len(pinned(tmp_path)) == 3


def test_a_connection_without_a_host_and_one_behind_a_jump_host(run, store):
    store.put("bare", {"password": SECRET})
    store.put(
        "behind",
        {"host": "db-1", "port": 2222, "password": SECRET, "jumpHost": {"host": "bastion", "password": SECRET}},
    )
    assert "give HOST[:PORT]" in run("scan-host", "bare")[2]
    err = run("scan-host", "behind")[2]
    assert "scan-host bastion`" in err
    assert "ssh bastion ssh-keyscan -p 2222 db-1 | easyalert-agent vault scan-host '[db-1]:2222' --yes --keys -" in err


def test_other_keys_are_replaced_only_when_that_is_said(run, server, target, tmp_path):
    run("scan-host", target, "--yes")
    former = server.fingerprint()
    server.new_host_keys()
    server.restart()
    code, out, err = run("scan-host", target, "--yes")
    assert code == 2
    assert "--replace" in err
    assert former in out
    assert former not in " ".join(pinned(tmp_path))
    before = pinned(tmp_path)
    assert run("scan-host", target, "--yes", "--replace")[0] == 0
    assert set(pinned(tmp_path)).isdisjoint(before)
    assert len(pinned(tmp_path)) == 3
    lines = [line for file in load_settings().audit_dir.iterdir() for line in file.read_text().splitlines()]
    assert sum('"kind":"hostKey.pinned"' in line for line in lines) == 2


def test_forget(run, target, tmp_path):
    run("scan-host", target, "--yes")
    assert run("scan-host", target, "--forget")[0] == 0
    assert pinned(tmp_path) == []
    code, _, err = run("scan-host", target, "--forget")
    assert code == 1
    assert "nothing was changed" in err


def test_keys_from_ssh_keyscan(run, server, target, tmp_path):
    scanned = subprocess.run(
        [require_program("ssh-keyscan", package="openssh-client"), "-p", str(server.port), "127.0.0.1"],
        capture_output=True, check=True,
    )  # fmt: skip
    assert run("scan-host", "db-1:2222", "--yes", "--keys", "-", stdin=scanned.stdout)[0] == 0
    assert {line.split()[0] for line in pinned(tmp_path)} == {"[db-1]:2222"}
    assert len(pinned(tmp_path)) == 3
    code, _, err = run("scan-host", "db-1:2222", "--yes", "--keys", "-", stdin=b"nothing\n")
    assert code == 2
    assert "no host key was read" in err


@pytest.mark.parametrize("host", ["127.0.0.1:99999", "a b", "127.1", "169.254.169.254"])
def test_what_is_no_host(run, host):
    assert run("scan-host", host, "--yes")[0] in {1, 2}


def test_nobody_listens(run):
    code, _, err = run("scan-host", f"127.0.0.1:{free_port()}", "--yes")
    assert code == 1
    assert "no connection" in err
