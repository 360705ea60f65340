from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from cli import tail
from cli.__main__ import main
from easyalert.journal import Journal
from easyalert.runtime import this_process
from easyalert.spool import JobOfSpool, SpoolWriter, remove_spool
from tests.cli.test_jobs import finish, new
from tests.support.waiting import eventually


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def journal(state):
    with Journal(state / "journal.sqlite3") as journal:
        yield journal


@pytest.fixture
def steps(monkeypatch):
    """What happens at each of the command's waits."""
    todo = []
    monkeypatch.setattr(tail.time, "sleep", lambda _seconds: todo.pop(0)())
    return todo


def spool(state, job_id="job_1"):
    return SpoolWriter(state / "output", job_id, JobOfSpool(job_id, 1, this_process()))


def test_output_is_shown_as_it_comes_and_the_rest_from_the_result(state, journal, steps, capsys):
    journal.take([new("job_1")])
    writer = spool(state)
    seen = []

    def begin():
        journal.start("job_1", this_process())
        writer.feed("stdout", b"one \xc3")  # not shown to the poller yet

    def go_on():
        seen.append(capsys.readouterr().out)
        writer.show()
        writer.feed("stdout", b"\xa9\n")
        writer.feed("stderr", b"oops\n")

    def end():
        seen.append(capsys.readouterr())
        result = {"output": {"stdout": "one é\ntwo\n", "stderr": "oops\n", "truncated": False}}
        journal.finish("job_1", {"jobId": "job_1", "status": "success", "error": None, **result})
        writer.close()
        remove_spool(state / "output" / "job_1")  # delivered

    steps += [begin, go_on, end]
    assert main(["jobs", "tail", "job_1"]) == 0
    last = capsys.readouterr()
    assert seen[0] == "one "
    assert seen[1] == ("é\n", "oops\n")
    assert last.out == "two\n"
    assert last.err == "[job job_1: finished: success]\n"


def test_a_job_that_has_ended_is_shown_from_the_journal(state, journal, capsys):
    journal.take([new("job_1")])
    finish(journal, "job_1")
    assert main(["jobs", "tail", "job_1"]) == 0
    assert capsys.readouterr().out == "output-of-the-job"


def test_gaps_are_said_and_not_filled_twice(state, journal, steps, capsys):
    journal.take([new("job_1")])
    journal.start("job_1", this_process())
    writer = SpoolWriter(
        state / "output", "job_1", JobOfSpool("job_1", 1, this_process()), head=1000, tail=1000, segment=500
    )
    for _ in range(100):
        writer.feed("stdout", b"z" * 99 + b"\n")
        writer.show()

    def end():
        result = {"output": {"stdout": "head...tail", "stderr": "", "truncated": True}}
        journal.finish("job_1", {"jobId": "job_1", "status": "success", "error": None, **result})

    steps.append(end)
    assert main(["jobs", "tail", "job_1"]) == 0
    out = capsys.readouterr().out
    assert out.count("bytes left out") == 1
    assert "head...tail" not in out
    missing = int(out.split("[... ")[1].split()[0])
    assert out.count("z") + out.count("\n") - 2 + missing == 10_000
    writer.close()


def test_the_worker_of_a_started_job_may_be_gone(state, journal, capsys):
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    owner = this_process().__class__(this_process().boot_id, int(gone.stdout), 1)
    journal.take([new("job_1")])
    journal.start("job_1", owner)
    assert main(["jobs", "tail", "job_1"]) == 0
    assert "job_1: started" in capsys.readouterr().err


def test_unknown_jobs_and_words(state, journal, capsys):
    assert main(["jobs", "tail", "job_9"]) == 1
    assert "no job job_9" in capsys.readouterr().err
    assert main(["jobs", "paint", "job_9"]) == 1
    assert "jobs tail ID" in capsys.readouterr().err


def test_a_hostile_job_cannot_steer_the_terminal(state, journal, monkeypatch, capsys):
    journal.take([new("job_1")])
    finish(journal, "job_1", output={"stdout": "a\x1b]0;title\x07\nb\tc", "stderr": ""})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    main(["jobs", "tail", "job_1"])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.startswith("a\\x1b]0;title")
    assert out.endswith("\nb\tc")


@pytest.mark.system
def test_ctrl_c_ends_it_quietly(state, journal):
    journal.take([new("job_1")])
    journal.start("job_1", this_process())
    writer = spool(state)
    writer.feed("stdout", b"one\n")
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "cli", "jobs", "tail", "job_1"],
        env={"PATH": os.environ["PATH"], "STATE_DIR": str(state)}, cwd=state,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "one\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")
    eventually(lambda: process.poll() is not None, what="its end")
    writer.close()
