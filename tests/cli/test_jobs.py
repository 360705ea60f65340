from __future__ import annotations

import json

import pytest

from cli.__main__ import main
from easyalert.journal import Journal, NewJob
from easyalert.runtime import this_process


def new(job_id: str, action: str = "script.bash") -> NewJob:
    return NewJob(
        job_id=job_id,
        attempt=None,
        action=action,
        connection_id=None,
        sealed=b"sealed-parameters",
        timeout_s=300,
        idempotent=None,
        needs_ack=False,
        lease_s=None,
        start_within_s=900,
    )


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def journal(state):
    with Journal(state / "journal.sqlite3") as journal:
        yield journal


def finish(journal: Journal, job_id: str, **result: object) -> None:
    assert journal.start(job_id, this_process())
    envelope = {"jobId": job_id, "status": "success", "output": {"stdout": "output-of-the-job"}, "error": None}
    assert journal.finish(job_id, {**envelope, "exitCode": 0, "durationMs": 5, **result})


def test_nothing_yet_makes_no_journal(state, capsys):
    assert main(["jobs"]) == 0
    assert "no jobs yet" in capsys.readouterr().out
    assert not (state / "journal.sqlite3").exists()


def test_the_latest_first_without_output_or_parameters(journal, capsys):
    journal.take([new("job_1")])
    finish(journal, "job_1", status="error", error="exit code 3")
    journal.take([new("job_2", "http.request")])
    assert main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[3] for line in lines[1:]] == ["job_2", "job_1"]
    assert "error: exit code 3" in lines[2]
    assert "output-of-the-job" not in "".join(lines)
    assert main(["jobs", "--limit", "1", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)
    assert (only["jobId"], only["state"], only["action"]) == ("job_2", "queued", "http.request")


def test_rejected_ones_with_the_reason(journal, capsys):
    journal.take([new("job_1"), new("job_2")])
    finish(journal, "job_1")
    finish(journal, "job_2")
    journal.mark_rejected("job_1", "HTTP 413: too large")
    assert main(["jobs", "--rejected"]) == 0
    out = capsys.readouterr().out
    assert "job_1" in out
    assert "HTTP 413: too large" in out
    assert "job_2" not in out


def test_a_hostile_job_cannot_steer_the_terminal(journal, capsys):
    journal.take([new("job_1", "x\x1b]0;title\x07")])
    main(["jobs"])
    assert "\x1b" not in capsys.readouterr().out


def test_one_job_by_its_id(journal, capsys):
    journal.take([new("job_1"), new("job_2")])
    assert main(["jobs", "job_2"]) == 0
    out = capsys.readouterr().out
    assert "job_2" in out
    assert "job_1" not in out
    assert main(["jobs", "job_3"]) == 1
    assert "no job job_3" in capsys.readouterr().err
