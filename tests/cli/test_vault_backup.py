"""vault export and import."""

from __future__ import annotations

import contextlib
import json
import os
import stat

import pytest

from cli.__main__ import main
from easyalert.sealing import ensure_key_pair, load_public_key
from tests.cli.vault_fixtures import KEY, NEW, PASSPHRASE, SECRET, cheap_derivation, run, store
from vault import Vault, VaultKey
from vault.backup import parse_backup

__all__ = ["cheap_derivation", "run", "store"]


@pytest.fixture
def passphrase_file(tmp_path):
    path = tmp_path / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


def test_a_backup_comes_back_under_another_key(run, store, tmp_path, monkeypatch, passphrase_file):
    store.put("web-1", {"password": SECRET})
    store.put("web-2", {"password": SECRET})
    code, out, _ = run("export", tmp_path / "out", "--passphrase-file", passphrase_file, "--json")
    assert (code, json.loads(out)["exported"]) == (0, ["web-1", "web-2"])
    raw = (tmp_path / "out").read_bytes()
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o600
    assert SECRET.encode() not in raw
    (tmp_path / "vault.json").unlink()
    monkeypatch.setenv("AGENT_API_KEY", NEW)
    new = Vault(tmp_path / "vault.json", VaultKey(NEW))
    new.put("web-1", {"password": "newer"})
    code, out, _ = run("import", tmp_path / "out", "--passphrase-file", passphrase_file, "--json")
    assert (code, json.loads(out)) == (0, {"imported": ["web-2"], "kept": ["web-1"]})
    assert (new.get("web-1"), new.get("web-2")) == ({"password": "newer"}, {"password": SECRET})
    assert run("import", tmp_path / "out", "--passphrase-file", passphrase_file, "--replace")[0] == 0
    assert new.get("web-1") == {"password": SECRET}


def test_a_backup_goes_to_another_agent_by_its_public_key(run, store, tmp_path, monkeypatch):
    store.put("web-1", {"password": SECRET})
    other = tmp_path / "other"
    other.mkdir()
    ensure_key_pair(other / "agent_key.json", NEW)
    ensure_key_pair(tmp_path / "agent_key.json", KEY)
    to = load_public_key(other / "agent_key.json").text
    assert run("export", tmp_path / "out", "--to", to)[0] == 0
    code, _, err = run("import", tmp_path / "out")
    assert code == 1
    assert "--identity" in err
    monkeypatch.setenv("STATE_DIR", str(other))
    monkeypatch.setenv("AGENT_API_KEY", NEW)
    assert run("import", tmp_path / "out")[0] == 0
    assert Vault(other / "vault.json", VaultKey(NEW)).get("web-1") == {"password": SECRET}


def test_a_backup_opens_with_a_key_that_openssl_made(run, store, tmp_path):
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    (tmp_path / "public.pem").write_bytes(
        key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    )
    store.put("web-1", {"password": SECRET})
    assert run("export", tmp_path / "out", "--to", tmp_path / "public.pem")[0] == 0
    store.delete("web-1")
    code, _, err = run("import", tmp_path / "out", "--identity", tmp_path / "public.pem")
    assert code == 2
    assert "no X25519 private key" in err
    assert run("import", tmp_path / "out", "--identity", tmp_path / "key.pem")[0] == 0
    assert store.get("web-1") == {"password": SECRET}


def test_export_names_what_does_not_open_and_leaves_it_out(run, store, tmp_path, passphrase_file):
    store.put("web-1", {"password": SECRET})
    document = json.loads((tmp_path / "vault.json").read_text())
    document["credentials"]["bad"] = {"iv": "AAAAAAAAAAAAAAAA", "data": "A" * 40}
    (tmp_path / "vault.json").write_text(json.dumps(document))
    code, out, err = run("export", tmp_path / "out", "--passphrase-file", passphrase_file)
    assert code == 4
    assert "1 entries" in out
    assert "bad" in err


def test_export_writes_over_nothing_and_leaves_nothing_behind(run, store, tmp_path, passphrase_file):
    store.put("web-1", {"password": SECRET})
    (tmp_path / "out").write_text("mine")
    code, _, err = run("export", tmp_path / "out", "--passphrase-file", passphrase_file)
    assert code == 2
    assert "exists" in err
    assert (tmp_path / "out").read_text() == "mine"
    passphrase_file.write_text("short")
    assert run("export", tmp_path / "new", "--passphrase-file", passphrase_file)[0] == 1
    assert not (tmp_path / "new").exists()


def test_export_and_import_without_a_terminal_want_a_passphrase_file(run, store, tmp_path, passphrase_file):
    store.put("web-1", {"password": SECRET})
    assert "--passphrase-file" in run("export", tmp_path / "out")[2]
    assert run("export", tmp_path / "out", "--passphrase-file", passphrase_file)[0] == 0
    assert "--passphrase-file" in run("import", tmp_path / "out")[2]
    passphrase_file.write_text("another passphrase")
    code, _, err = run("import", tmp_path / "out", "--passphrase-file", passphrase_file)
    assert code == 1
    assert "does not open" in err


@pytest.mark.parametrize("to", ["AAAA", "no-such-file", "vault.json"])
def test_a_recipient_that_is_no_key_is_refused(run, store, tmp_path, to):
    store.put("web-1", {})
    assert run("export", tmp_path / "out", "--to", to)[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_passphrase_in_a_file_is_the_one_that_was_typed(run, store, tmp_path, passphrase_file):
    """Blanks around it belong to it, and so does what some programs take for a line end."""
    store.put("web-1", {"password": SECRET})
    passphrase_file.write_text(f"  {PASSPHRASE}\u2028x \n")
    assert run("export", tmp_path / "out", "--passphrase-file", passphrase_file)[0] == 0
    sealed = parse_backup((tmp_path / "out").read_bytes())
    assert sealed.open_with_passphrase(f"  {PASSPHRASE}\u2028x ") == {"web-1": {"password": SECRET}}


def test_an_export_that_is_interrupted_leaves_no_half_of_a_file(store, tmp_path, monkeypatch, passphrase_file):
    store.put("web-1", {"password": SECRET})

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with contextlib.suppress(KeyboardInterrupt):
        main(["vault", "export", str(tmp_path / "out"), "--passphrase-file", str(passphrase_file)])
    assert not (tmp_path / "out").exists()
