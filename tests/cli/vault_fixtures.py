"""A vault of the test's own, and the command on it."""

from __future__ import annotations

import io
import sys

import pytest

import vault.backup
import vault.key
from cli.__main__ import main
from easyalert import sealing
from vault import Vault, VaultKey

KEY = "ea_agent_of_this_test"
NEW = "ea_agent_after_the_rotation"
SECRET = "not-to-be-seen-9134"
PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 2)
    monkeypatch.setattr(sealing, "_ITERATIONS", 2)
    monkeypatch.setattr(vault.backup, "_SCRYPT", {"n": 2, "r": 8, "p": 1})


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("AGENT_API_URL", "https://plane.invalid")
    monkeypatch.setenv("AGENT_API_KEY", KEY)
    return Vault(tmp_path / "vault.json", VaultKey(KEY))


@pytest.fixture
def run(store, capfd, monkeypatch):
    """Run a command with this standard input; its exit code and all it printed, which must hold no secret."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main(["vault", *map(str, arguments)])
        out, err = capfd.readouterr()
        for secret in (SECRET, NEW, KEY, PASSPHRASE):
            assert secret not in out + err
        return code, out, err

    return run
