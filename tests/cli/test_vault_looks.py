from __future__ import annotations

import json
import shlex

import pytest

from cli.__main__ import main
from vault import Vault, VaultKey

KEY = "ea_agent_of_this_test"
SECRET = "not-to-be-seen-9134"


@pytest.fixture
def vault(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("AGENT_API_URL", "https://plane.invalid")
    monkeypatch.setenv("AGENT_API_KEY", KEY)
    return Vault(tmp_path / "vault.json", VaultKey(KEY))


def doctor(capsys, expected: int) -> dict[str, object]:
    assert main(["vault", "doctor", "--json"]) == expected
    return json.loads(capsys.readouterr().out)


def test_names_are_listed_and_no_value_is(vault, capsys):
    assert main(["vault", "list"]) == 0
    assert "no credentials yet" in capsys.readouterr().out
    vault.put("web-2", {"token": SECRET})
    vault.put("web-1", {"token": SECRET})
    assert main(["vault", "list"]) == 0
    assert main(["vault", "list", "--json"]) == 0
    assert main(["vault", "doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith('web-1\nweb-2\n["web-1", "web-2"]\n')
    assert SECRET not in out


def test_a_healthy_vault_needs_nothing(vault, capsys):
    vault.put("web-1", {"token": SECRET})
    report = doctor(capsys, 0)
    assert (report["state"], report["entries"], report["next"]) == ("ok", 1, [])


def test_a_wrong_key_is_told_from_damage(vault, capsys, monkeypatch):
    vault.put("web-1", {"token": SECRET})
    monkeypatch.setenv("AGENT_API_KEY", "another-key")
    report = doctor(capsys, 4)
    assert report["state"] == "locked"
    assert "AGENT_API_KEY_PREVIOUS" in report["next"][0]


def test_the_advice_for_a_damaged_file_brings_the_backup_back(vault, tmp_path, capsys):
    vault.put("web-1", {"token": SECRET})
    vault.put("web-2", {"token": SECRET})
    (tmp_path / "vault.json").write_text("{torn")
    report = doctor(capsys, 4)
    assert report["state"] == "damaged"
    assert f"cp -p {tmp_path / 'vault.json.bak'} {tmp_path / 'vault.json'}" in report["next"][0]


def test_one_damaged_entry_is_named(vault, tmp_path, capsys):
    vault.put("web-1", {"token": SECRET})
    vault.put("web-2", {"token": SECRET})
    document = json.loads((tmp_path / "vault.json").read_text())
    document["credentials"]["web-2"]["iv"] = "AAAAAAAAAAAAAAAA"
    (tmp_path / "vault.json").write_text(json.dumps(document))
    report = doctor(capsys, 4)
    assert report["damaged"] == ["web-2"]
    assert "deliver again: web-2" in report["next"][0]
    assert main(["vault", "doctor"]) == 4
    assert "does not open: web-2" in capsys.readouterr().out


def test_without_the_key_it_says_so(vault, capsys, monkeypatch):
    monkeypatch.delenv("AGENT_API_KEY")
    assert main(["vault", "list"]) == 2
    assert "AGENT_API_KEY" in capsys.readouterr().err


def test_what_a_damaged_file_says_moves_no_cursor_and_runs_nothing(vault, tmp_path, capsys):
    """Names come from the file, paths from the owner: both may hold what a terminal or a shell takes for more."""
    vault.put("web-1", {"token": SECRET})
    document = json.loads((tmp_path / "vault.json").read_text())
    document["credentials"]["\x1b[2J"] = {}
    (tmp_path / "vault.json").write_text(json.dumps(document))
    assert main(["vault", "doctor"]) == 4
    assert "\x1b" not in capsys.readouterr().out


def test_the_commands_it_advises_can_be_pasted(vault, tmp_path, capsys, monkeypatch):
    path = tmp_path / "a folder;x" / "vault.json"
    path.parent.mkdir()
    monkeypatch.setenv("VAULT_PATH", str(path))
    for name in ("web-1", "web-2"):
        Vault(path, VaultKey(KEY)).put(name, {"token": SECRET})
    path.write_text("{torn")
    advice = doctor(capsys, 4)["next"][0]
    words = shlex.split(advice.split("; ", 1)[1])
    assert str(path) in words
    assert f"{path}.bak" in words
