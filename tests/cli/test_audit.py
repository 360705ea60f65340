from __future__ import annotations

import json
import time

import pytest

from cli.__main__ import main
from easyalert.audit import AuditLog, Entry, move
from easyalert.journal import Journal
from easyalert.journal.pause import pause_here


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.delenv("AGENT_API_KEY", raising=False)
    return tmp_path / "audit"


@pytest.fixture
def filled(folder):
    now = time.time()
    AuditLog(folder).append(
        [
            Entry(now - 7200, "agent.started", {"by": "root", "pid": 7}),
            Entry(now - 3600, "job.started", {"jobId": "job_1\x1b[31m", "action": "script.bash", "policy": None}),
            Entry(now - 60, "job.ended", {"jobId": "job_2", "outcome": "finished"}),
        ]
    )
    return folder


def shown(capsys, *options):
    assert main(["audit", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_nothing_recorded_yet_is_no_error(folder, capsys):
    assert main(["audit"]) == 0
    assert "nothing is recorded yet" in capsys.readouterr().out
    assert main(["audit", "verify"]) == 0
    assert not folder.exists()


def test_entries_are_shown_one_a_line_without_what_a_terminal_would_obey(filled, capsys):
    assert main(["audit"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:1] == ["1"]
    assert lines[0].endswith("agent.started      by=root pid=7")
    assert "jobId=job_1\\x1b[31m" in lines[1]
    assert "hash" not in lines[1]


def test_no_name_passes_for_further_facts(folder, capsys):
    AuditLog(folder).append(
        [Entry(time.time(), "job.started", {"jobId": 'x requestedBy="Ada"', "requestedBy": "Eve (tok_1)"})]
    )
    assert main(["audit"]) == 0
    line = capsys.readouterr().out
    assert 'jobId="x requestedBy=\\"Ada\\"" requestedBy="Eve (tok_1)"' in line


def test_since_and_limit(filled, capsys):
    assert [entry["seq"] for entry in shown(capsys)] == [1, 2, 3]
    assert [entry["seq"] for entry in shown(capsys, "--since", "90m")] == [2, 3]
    assert [entry["seq"] for entry in shown(capsys, "--since", "2020-01-01", "--limit", "1")] == [3]
    assert shown(capsys, "--since", "1s") == []
    assert shown(capsys, "--limit", "0") == []
    assert main(["audit", "--since", "yesterday"]) == 2
    assert "--since" in capsys.readouterr().err


def test_what_waits_in_the_journal_is_shown_too(filled, tmp_path, capsys):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        pause_here(journal, time.time(), reason="disk", until=None, by="Ada")
    last = shown(capsys)[-1]
    assert (last["kind"], last["by"], last["reason"], last["seq"]) == ("agent.paused", "Ada", "disk", None)
    assert main(["audit"]) == 0
    assert "waiting" in capsys.readouterr().out


def test_verify_names_the_first_broken_line(filled, capsys):
    assert main(["audit", "verify"]) == 0
    out = capsys.readouterr().out
    head = AuditLog(filled).head()
    assert f"3 entries; it ends with 3:{head.hash}" in out
    (path,) = filled.glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"script.bash", b"script.bush"))
    assert main(["audit", "verify"]) == 4
    assert "000001.jsonl, line 2" in capsys.readouterr().out
    assert main(["audit", "verify", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert (report["whole"], report["entries"]) == (False, 1)


def test_verify_compares_with_what_was_witnessed(filled, tmp_path, capsys):
    head = AuditLog(filled).head()
    assert main(["audit", "verify", "--anchor", f"{head.seq}:{head.hash}"]) == 0
    assert main(["audit", "verify", "--anchor", f"4:{head.hash}"]) == 4
    assert "entry 4 was witnessed" in capsys.readouterr().out
    assert main(["audit", "verify", "--anchor", "4"]) == 2


def test_the_journal_is_a_witness_of_the_end(filled, tmp_path, capsys):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        journal.audit_now("agent.test", {})
        move(journal, AuditLog(filled))
    assert main(["audit", "verify"]) == 0
    (path,) = filled.glob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert main(["audit", "verify"]) == 4
    assert "entry 4 was witnessed" in capsys.readouterr().out


def test_a_torn_last_line_is_said_and_is_no_tampering(filled, capsys):
    (path,) = filled.glob("*.jsonl")
    path.write_bytes(path.read_bytes()[:-10])
    assert main(["audit", "verify"]) == 0
    assert "not whole" in capsys.readouterr().out
    assert main(["audit", "verify", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tornBytes"] > 0
