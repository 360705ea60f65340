from __future__ import annotations

import io

from deploy.quickstart import report
from deploy.quickstart.sample import Done

AGENT = {
    "name": "web-1",
    "status": "online",
    "healthScore": 100.0,
    "inFlight": 2,
    "capacity": 5,
    "lastHour": {"total": 9, "succeeded": 7},
}


def done(stdout="Hello\nthere\n"):
    steps = [{"step": "created", "ms": 0.0}, {"step": "started", "ms": 12.5}]
    job = {
        "id": "job_7",
        "status": "success",
        "timings": steps,
        "result": {"output": {"stdout": stdout}, "exitCode": 0},
    }
    return Done("script.bash", job, 20.0)


def test_the_sample_shows_output_and_the_time_of_every_step():
    text = report.sample([done()])
    assert "script.bash" in text
    assert "20.0 ms" in text
    assert "    Hello\n    there\n" in text
    assert "exit code 0" in text
    assert ["started", "12.5", "ms", "+12.5"] in [line.split() for line in text.splitlines()]
    assert ["result", "seen", "here", "20.0", "ms", "+7.5"] in [line.split() for line in text.splitlines()]


def test_the_status_says_what_runs_and_what_waits():
    line = report.status(AGENT, 3)
    for part in ("web-1 online", "100/100", "running 2 of 5", "waiting 3", "7 ok, 2 failed"):
        assert part in line


def test_more_waiting_jobs_than_were_counted():
    assert "waiting 100 or more" in report.status(AGENT, 100)


def test_away_from_a_terminal_only_changes_are_written():
    out = io.StringIO()
    line = report.StatusLine(out)
    for text in ("one", "one", "two"):
        line.show(text)
    line.close()
    assert out.getvalue() == "one\ntwo\n"


def test_on_a_terminal_the_line_is_rewritten():
    out = io.StringIO()
    out.isatty = lambda: True
    line = report.StatusLine(out)
    line.show("one")
    line.show("two")
    line.close()
    assert out.getvalue() == "\r\033[Kone\r\033[Ktwo\n"
