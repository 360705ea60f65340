from __future__ import annotations

from cli.__main__ import main


def test_an_agent_that_was_never_started_is_not_paused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert main(["resume"]) == 0
    assert "not paused" in capsys.readouterr().out
    assert not (tmp_path / "journal.sqlite3").exists()
