from __future__ import annotations

import pytest

from cli.terminal import coloured, duration, plain, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [("job_1", "job_1"), ("Zürich", "Zürich"), ("\x1b[31m", r"\x1b[31m"), ("a\nb", r"a\nb"), ("\u202e", r"\u202e")],
)
def test_foreign_text_cannot_steer_the_terminal(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "never"), (-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7500, "2 h 5 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds, shown):
    assert duration(seconds) == shown


def test_colours_are_for_terminals_only(monkeypatch, capsys):
    assert coloured("ok", "good") == "ok"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert coloured("ok", "good") == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("ok", "good") == "ok"


def test_table():
    assert table([]) == []
    assert table([("a", "b"), ("ccc", "d")]) == ["a    b", "ccc  d"]
