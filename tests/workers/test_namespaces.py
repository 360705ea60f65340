from __future__ import annotations

import itertools
import os
import signal
import sys
import threading

import pytest

from tests.support.waiting import eventually
from tests.workers.isolated import home, isolated, left, run
from workers import namespaces, trees

pytestmark = pytest.mark.system

__all__ = ["home"]


def test_exit_codes_signals_and_output_are_the_programs_own(home):
    found = isolated(home)
    assert run(home, found, "echo out; echo err >&2; exit 7")["exitCode"] == 7
    assert run(home, found, "echo out; echo err >&2; exit 7")["output"]["stdout"] == "out\n"
    assert run(home, found, "kill -SEGV $$")["exitCode"] == -signal.SIGSEGV
    assert run(home, found, "trap 'echo told; exit 4' TERM; kill $$; sleep 9")["exitCode"] == 4


@pytest.fixture
def hurried():
    """A thread that asks for the interpreter's lock all the time, as one that has much to do does now and then."""
    done, before = threading.Event(), sys.getswitchinterval()
    thread = threading.Thread(target=lambda: all(not done.is_set() for _ in itertools.count()))
    sys.setswitchinterval(1e-6)
    thread.start()
    yield
    done.set()
    thread.join()
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_other_threads_do_not_keep_it_from_starting(home, monkeypatch):
    found = isolated(home)
    monkeypatch.setattr(namespaces, "_START_WITHIN_S", 10.0)
    folder = home / "state/tmp/job"
    folder.mkdir()
    for _ in range(60):
        running = found.start(["/bin/true"], env={"PATH": os.environ["PATH"]}, cwd=folder, folder=folder)
        assert running.wait() == 0
        running.leaves_others()
        running.stdout.close()
        running.stderr.close()


def test_a_clone_of_a_fork_ends_as_any_other(home, monkeypatch):
    """Without other threads there is no fork: that way is tried by `find_isolation`, in a process of its own."""
    monkeypatch.setattr(namespaces, "_has_other_threads", lambda: True)
    found = isolated(home)
    assert run(home, found, "echo out; exit 7")["exitCode"] == 7
    assert "timed out" in run(home, found, "exec sleep 60", timeout_s=1)["error"]
    assert not left()


def test_threads_are_seen_whoever_made_them():
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    seen = namespaces._has_other_threads()
    done.set()
    thread.join()
    assert seen


def test_a_fork_that_gets_nowhere_is_ended_and_said(home, monkeypatch):
    found = isolated(home)
    monkeypatch.setattr(namespaces, "_START_WITHIN_S", 0.2)
    monkeypatch.setattr(namespaces, "_has_other_threads", lambda: True)
    monkeypatch.setattr(namespaces, "_clone", lambda *_: signal.pause())
    assert "making namespaces" in run(home, found, "true")["error"]
    assert not left()


def test_what_a_script_leaves_behind_is_killed_and_counted(home, caplog):
    result = run(home, isolated(home), "(setsid sleep 60 &) ; (sleep 60 &) ; echo over")
    assert result["output"]["stdout"] == "over\n"
    assert "left 2 processes behind" in caplog.text
    assert not left(), "nobody is left, process 1 of the namespace included"


def test_a_time_out_asks_first_and_ends_everything(home):
    script = "trap 'echo asked; exit 0' TERM; (trap '' TERM; sleep 60) & sleep 60 & wait"
    result = run(home, isolated(home), script, timeout_s=1)
    assert "timed out" in result["error"]
    assert result["output"]["stdout"] == "asked\n"
    assert not left()


def test_it_is_found_by_its_mark_with_what_has_none_any_more(home):
    """What a start after a crash looks for: process 1 of the namespace has no mark, nor what cleared its environment."""
    found = isolated(home)
    folder = home / "state/tmp/job"
    folder.mkdir()
    script = "env -i setsid sleep 60 & exec sleep 60"
    environment = {"PATH": os.environ["PATH"], trees.MARK_VARIABLE: "job_7@agent-of-tests"}
    running = found.start(["/bin/bash", "-c", script], env=environment, cwd=folder, folder=folder)
    eventually(lambda: len(left()) >= 3, within=10, what="all of it there")
    below = left()
    assert trees.marked("@agent-of-tests") == below
    trees.kill_all(lambda: trees.marked("@agent-of-tests"), by_birth=False)
    assert running.wait() == -signal.SIGKILL
    running.leaves_others()
    running.stdout.close()
    running.stderr.close()
    assert not left()


def test_a_program_that_cannot_be_executed_is_an_error_of_its_own(home):
    folder = home / "state/tmp/job"
    folder.mkdir()
    with pytest.raises(FileNotFoundError):
        isolated(home).start(["/no/such/program"], env={}, cwd=folder, folder=folder)
    assert not left()


def test_it_reads_what_it_is_given_and_else_nothing(home, tmp_path):
    folder = home / "state/tmp/job"
    folder.mkdir()
    given = tmp_path / "given"
    given.write_text("told")
    with given.open() as source:
        for stdin, heard in ((source.fileno(), b"told"), (None, b"")):
            running = isolated(home).start(["/bin/cat"], env={}, cwd=folder, folder=folder, stdin=stdin)
            with running.stdout, running.stderr:
                assert running.stdout.read() == heard
                assert running.wait() == 0
                running.leaves_others()
