"""How secrets come in, and that none goes out."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import vault.backup
import vault.key
from tests.cli.vault_fixtures import KEY, NEW, SECRET, cheap_derivation, run, store
from tests.support.terminal import at_terminal
from vault import Vault, VaultKey

__all__ = ["cheap_derivation", "run", "store"]


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


def test_no_value_can_be_an_argument(run):
    with pytest.raises(SystemExit) as ended:
        run("set", "web-1", json.dumps({"password": "x"}))
    assert ended.value.code == 2


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
