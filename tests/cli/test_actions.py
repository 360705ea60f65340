from __future__ import annotations

import json

import pytest

from cli.__main__ import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    made = tmp_path / "actions"
    made.mkdir(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CUSTOM_ACTIONS_DIR", str(made))
    return made


def add(folder, name, manifest="", mode=0o755):
    for file, text, its in ((name, "#!/bin/sh\n", mode), (f"{name}.toml", manifest, 0o644)):
        (folder / file).write_text(text)
        (folder / file).chmod(its)


def test_it_lists_what_there_is(folder, capsys):
    add(folder, "purge", 'description = "Empties it."\nidempotent = true\n[parameters.site]\nrequired = true\n')
    assert main(["actions"]) == 0
    assert capsys.readouterr().out == "custom.purge  Empties it.  (parameters: site; may repeat)\n"


def test_it_says_what_is_not_used_and_why(folder, capsys):
    add(folder, "purge")
    add(folder, "open", mode=0o777)
    add(folder, "text", mode=0o644)
    assert main(["actions", "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert [one["action"] for one in said["actions"]] == ["custom.purge"]
    assert "can be written by others" in said["problems"]["open"]
    assert "chmod 755" in said["problems"]["text"]


def test_without_a_folder_it_names_the_setting(folder, monkeypatch, capsys):
    monkeypatch.delenv("CUSTOM_ACTIONS_DIR")
    assert main(["actions"]) == 0
    assert "CUSTOM_ACTIONS_DIR is not set" in capsys.readouterr().out
