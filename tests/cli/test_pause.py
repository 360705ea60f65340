from __future__ import annotations

import json
import time
from datetime import datetime

import pytest

from cli.__main__ import main
from cli.pause import end_of
from easyalert.errors import ConfigurationError
from easyalert.journal import Journal
from easyalert.journal.pause import CONTROL_NOTE, local_pause

NOON = datetime(2026, 6, 1, 12, 0).astimezone().timestamp()


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    with Journal(tmp_path / "journal.sqlite3") as journal:
        yield journal


@pytest.mark.parametrize(
    ("until", "span", "end"),
    [
        (None, None, None),
        (None, "90s", NOON + 90),
        (None, "30m", NOON + 1800),
        (None, " 2h", NOON + 7200),
        (None, "1d", NOON + 86400),
        ("13:30", None, NOON + 5400),
        ("11:30", None, NOON - 1800 + 86400),
        ("2027-01-15T08:00:00+00:00", None, 1_800_000_000.0),
    ],
)
def test_ends_people_write(until, span, end):
    assert end_of(until, span, NOON) == end


@pytest.mark.parametrize(
    ("until", "span"),
    [("25:00", None), ("tomorrow", None), ("2020-01-01T00:00:00Z", None), (None, "2"), (None, "0s"), (None, "2 weeks")],
)
def test_ends_nobody_can_keep_are_refused_with_what_to_write(until, span):
    with pytest.raises(ConfigurationError, match=r"write|over already"):
        end_of(until, span, NOON)


def test_pause_and_resume(journal, capsys):
    assert main(["pause", "--reason", "disk is replaced", "--for", "2h"]) == 0
    assert "no new job starts, running ones go on" in capsys.readouterr().out
    paused = local_pause(journal, time.time())
    assert paused.reason == "disk is replaced"
    assert paused.until == pytest.approx(time.time() + 7200, abs=20)
    assert main(["status", "--json"]) == 3
    status = json.loads(capsys.readouterr().out)
    assert status["pause"]["kind"] == "paused"
    assert any("disk is replaced" in hint["sentence"] for hint in status["hints"])
    assert main(["resume"]) == 0
    assert local_pause(journal, time.time()) is None
    assert "jobs are taken again" in capsys.readouterr().out
    assert main(["resume"]) == 0
    assert "not paused here" in capsys.readouterr().out


def test_a_pause_where_no_agent_ever_was_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert main(["pause"]) == 2
    assert "STATE_DIR" in capsys.readouterr().err
    assert not (tmp_path / "journal.sqlite3").exists()


def test_resume_says_when_the_control_plane_still_drains_it(journal, capsys):
    journal.leave_note(CONTROL_NOTE, {"drain": {"reason": "moves", "until": None}})
    assert main(["resume"]) == 0
    assert "draining by the control plane (moves): enable it there" in capsys.readouterr().out
    assert main(["status"]) == 3
    assert "draining by the control plane (moves)" in capsys.readouterr().out
