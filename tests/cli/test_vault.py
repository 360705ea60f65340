"""vault set, delete and rekey."""

from __future__ import annotations

import json

import pytest

from cli.__main__ import main
from easyalert.journal import Journal
from easyalert.journal.pause import local_pause
from easyalert.sealing import ensure_key_pair, load_private_key, load_public_key
from easyalert.settings import load_settings
from tests.cli.vault_fixtures import KEY, NEW, SECRET, cheap_derivation, run, store
from vault import Vault, VaultKey

__all__ = ["cheap_derivation", "run", "store"]


def test_set_reads_an_object_from_standard_input(run, store):
    assert run("set", "web-1", stdin=json.dumps({"password": SECRET}).encode())[:2] == (
        0,
        "credentials of 'web-1' are stored\n",
    )
    assert store.get("web-1") == {"password": SECRET}


def test_set_reads_an_object_from_a_file(run, store, tmp_path):
    (tmp_path / "in.json").write_text(json.dumps({"password": SECRET, "port": 22}))
    code, out, _ = run("set", "web-1", "--file", tmp_path / "in.json", "--json")
    assert (code, json.loads(out)) == (0, {"stored": "web-1"})
    assert store.get("web-1") == {"password": SECRET, "port": 22}


def test_a_bad_id_is_refused_before_anything_is_read(run, store):
    code, _, err = run("set", "web 1", stdin=b"{")
    assert code == 1
    assert "not a connection id" in err


def test_delete_asks_where_there_is_a_terminal_and_wants_yes_where_there_is_none(run, store):
    store.put("web-1", {"password": SECRET})
    code, _, err = run("delete", "web-1")
    assert code == 2
    assert "--yes" in err
    assert store.names() == ["web-1"]
    code, out, _ = run("delete", "web-1", "--yes", "--json")
    assert (code, json.loads(out)) == (0, {"deleted": "web-1"})
    assert store.names() == []
    code, _, err = run("delete", "web-1", "--yes")
    assert code == 1
    assert "vault list" in err


def test_unbind_forgets_where_credentials_went(run, store):
    code, _, err = run("unbind", "web-1")
    assert code == 1
    assert "bound to no address" in err
    with Journal(load_settings().journal_path) as journal:
        journal.bind("web-1", "digest", "10.0.0.5")
    code, out, _ = run("unbind", "web-1", "--json")
    assert (code, json.loads(out)) == (0, {"unbound": "web-1", "address": "10.0.0.5"})
    with Journal(load_settings().journal_path) as journal:
        assert journal.bindings() == []


@pytest.fixture
def new_key_file(tmp_path):
    path = tmp_path / "new-key"
    path.write_text(NEW + "\n")
    return path


def test_rekey_takes_the_key_file_along_and_says_what_to_do_next(run, store, tmp_path, new_key_file):
    store.put("web-1", {"password": SECRET})
    ensure_key_pair(tmp_path / "agent_key.json", KEY)
    public = load_public_key(tmp_path / "agent_key.json").text
    code, out, _ = run("rekey", "--key-file", new_key_file)
    assert code == 0
    assert "AGENT_API_KEY_PREVIOUS" in out
    assert Vault(tmp_path / "vault.json", VaultKey(NEW)).get("web-1") == {"password": SECRET}
    assert load_private_key(tmp_path / "agent_key.json", [NEW]).public.text == public
    assert load_private_key(tmp_path / "agent_key.json", [KEY]) is None


def test_rekey_takes_the_new_key_from_the_environment(run, store, monkeypatch):
    store.put("web-1", {})
    monkeypatch.setenv("AGENT_API_KEY_NEW", NEW)
    code, out, _ = run("rekey", "--json")
    assert (code, json.loads(out)["rekeyed"]) == (0, 1)


def test_rekey_holds_the_agents_jobs_back(run, store, tmp_path, new_key_file):
    store.put("web-1", {})
    Journal(tmp_path / "journal.sqlite3").close()
    assert run("rekey", "--key-file", new_key_file)[0] == 0
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert "restart the agent" in local_pause(journal, 0).reason
    assert main(["resume"]) == 0


def test_rekey_with_a_wrong_key_changes_nothing_and_holds_nothing_back(run, store, tmp_path, monkeypatch, new_key_file):
    store.put("web-1", {})
    Journal(tmp_path / "journal.sqlite3").close()
    before = (tmp_path / "vault.json").read_bytes()
    monkeypatch.setenv("AGENT_API_KEY", "ea_agent_wrong")
    assert run("rekey", "--key-file", new_key_file)[0] == 1
    assert (tmp_path / "vault.json").read_bytes() == before
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert local_pause(journal, 0) is None
