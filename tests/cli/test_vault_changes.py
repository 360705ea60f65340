from __future__ import annotations

import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest

import vault.backup
import vault.key
from cli.__main__ import main
from easyalert import sealing
from easyalert.journal import Journal
from easyalert.journal.pause import local_pause
from easyalert.sealing import ensure_key_pair, load_private_key, load_public_key
from tests.support.terminal import at_terminal
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


# ---- set and delete


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


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (SECRET.encode(), "not JSON"), (b"", "not JSON"), (b"\xff", "not JSON"), (b"[" * 100_000, "not JSON"),
        (f'["{SECRET}"]'.encode(), "one JSON object"), (b"{}", "not empty"), (b"{" + b" " * 2**20, "more than"),
        (f'{{"a": 1, "a": "{SECRET}"}}'.encode(), "twice"),
    ],
)  # fmt: skip
def test_what_is_no_object_is_refused_and_not_quoted(run, store, stdin, says):
    code, _, err = run("set", "web-1", stdin=stdin)
    assert code == 2
    assert says in err
    assert store.names() == []


def test_a_bad_id_is_refused_before_anything_is_read(run, store):
    code, _, err = run("set", "web 1", stdin=b"{")
    assert code == 1
    assert "not a connection id" in err


def test_no_value_can_be_an_argument(run):
    with pytest.raises(SystemExit) as ended:
        run("set", "web-1", json.dumps({"password": "x"}))
    assert ended.value.code == 2


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


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(Path.cwd()), **more}


def cli(*arguments):
    return ["-m", "cli", "vault", *arguments]


@pytest.mark.system
def test_at_a_terminal_values_are_asked_for_and_not_shown(store, monkeypatch, request):
    monkeypatch.setattr(vault.key, "ITERATIONS", 600_000)  # as the program's
    monkeypatch.chdir(request.config.rootpath)
    typed = [
        ("field: ", "username"),
        ("username: ", "deploy"),
        ("field: ", "password"),
        ("password: ", SECRET),
        ("field: ", ""),
    ]
    code, screen = at_terminal(cli("set", "web-1"), typed, environment())
    assert (code, "are stored" in screen) == (0, True)
    assert SECRET not in screen
    assert "deploy" not in screen
    assert Vault(store._path, VaultKey(KEY)).get("web-1") == {"username": "deploy", "password": SECRET}

    code, screen = at_terminal(cli("delete", "web-1"), [("[y/N] ", "n")], environment())
    assert (code, "nothing was deleted" in screen) == (2, True)
    code, screen = at_terminal(cli("rekey"), [("shown): ", NEW), ("once more: ", NEW + "x")], environment())
    assert (code, "differ" in screen) == (2, True)
    code, screen = at_terminal(cli("rekey"), [("shown): ", NEW), ("once more: ", NEW)], environment())
    assert (code, "1 entries now open with the new key only" in screen) == (0, True)
    assert NEW not in screen
    code, screen = at_terminal(cli("delete", "web-1"), [("[y/N] ", "y")], environment(AGENT_API_KEY=NEW))
    assert (code, "are deleted" in screen) == (0, True)


# ---- rekey


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


@pytest.mark.parametrize("content", ["", "\n\n", "two words", KEY, "schlüssel", "\x1b[31m"])
def test_what_is_no_new_key_changes_nothing(run, store, tmp_path, content):
    store.put("web-1", {})
    before = (tmp_path / "vault.json").read_bytes()
    (tmp_path / "key").write_text(content)
    assert run("rekey", "--key-file", tmp_path / "key")[0] == 2
    assert (tmp_path / "vault.json").read_bytes() == before


def test_rekey_without_a_terminal_says_where_the_key_may_come_from(run, store):
    code, _, err = run("rekey")
    assert code == 2
    assert "--key-file" in err
    assert "AGENT_API_KEY_NEW" in err


def test_rekey_with_a_wrong_key_changes_nothing_and_holds_nothing_back(run, store, tmp_path, monkeypatch, new_key_file):
    store.put("web-1", {})
    Journal(tmp_path / "journal.sqlite3").close()
    before = (tmp_path / "vault.json").read_bytes()
    monkeypatch.setenv("AGENT_API_KEY", "ea_agent_wrong")
    assert run("rekey", "--key-file", new_key_file)[0] == 1
    assert (tmp_path / "vault.json").read_bytes() == before
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert local_pause(journal, 0) is None


# ---- export and import


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
