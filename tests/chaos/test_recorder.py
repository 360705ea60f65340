from __future__ import annotations

import os
import signal
import subprocess

import pytest

from chaos.recorder import Mark, Recorder, read_marks
from tests.support.waiting import eventually


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path)
    yield recorder
    recorder.close()


@pytest.fixture
def run(recorder, tmp_path):
    started = []

    def start(job, seconds, agent="one"):
        home = tmp_path / agent / "state" / "tmp"
        home.mkdir(parents=True, exist_ok=True)
        started.append(
            subprocess.Popen(
                ["bash", "-c", recorder.script(job, seconds)], env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_job_is_marked_before_and_after_with_its_agent(recorder, run):
    assert run(3, 0.05).wait(30) == 0
    start, end = recorder.marks()
    assert (start.kind, start.job, start.agent) == ("start", 3, "one")
    assert (end.kind, end.job, end.agent) == ("end", 3, "one")
    assert 0.03 <= end.at - start.at < 5
    assert recorder.peaks == {"one": 1}


def test_a_job_that_is_cut_has_no_end_and_lives_no_more(recorder, run):
    process = run(1, 5)
    eventually(recorder.marks, what="its first mark")
    eventually(lambda: recorder.alive == 1, what="its connection")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    eventually(lambda: recorder.alive == 0, what="its end seen")
    assert [mark.kind for mark in recorder.marks()] == ["start"]


def test_those_alive_at_one_instant_are_counted_per_agent(recorder, run):
    processes = [run(1, 1), run(2, 1), run(3, 1, agent="two")]
    eventually(lambda: recorder.peaks == {"one": 2, "two": 1}, what="both agents' peaks")
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert run(4, 0).wait(30) == 0
    assert recorder.peaks == {"one": 2, "two": 1}


def test_a_line_that_was_cut_short_is_left_out():
    assert read_marks("start 1 one 2.5\nsta\nend 1 one\nend x one 3\nend 1 one 3.00\n") == [
        Mark("start", 1, "one", 2.5),
        Mark("end", 1, "one", 3.0),
    ]
