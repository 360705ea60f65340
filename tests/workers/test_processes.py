from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from easyalert.errors import AgentFault
from easyalert.hardening import become_subreaper
from tests.workers.chain import gone, pid_in
from workers import processes
from workers.executors.script import Script
from workers.processes import run_process
from workers.sdk.harness import SECRET, Harness

pytestmark = pytest.mark.system

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def ctx(tmp_path):
    become_subreaper()
    return Harness(Script(), tmp_path).context("bash", {}, timeout_s=20)


def test_a_program_gets_exactly_its_environment_and_the_mark(ctx):
    end = run_process(ctx, ["env"], env={"A": "b"})
    assert sorted(end.stdout.text().split()) == ["A=b", f"EASYALERT_JOB={ctx.mark}"]
    assert end.exit_code == 0
    assert end.stopped is None


def test_a_program_that_is_not_there_is_the_agents_fault(ctx):
    with pytest.raises(AgentFault, match="no-such-program"):
        run_process(ctx, ["no-such-program"], env=ENV)


def test_it_can_be_terminated_though_the_worker_ignores_signals(ctx):
    end = run_process(ctx, ["bash", "-c", "kill -TERM $$; sleep 5"], env=ENV)
    assert end.exit_code == -15
    assert end.signal_name == "SIGTERM"


def test_it_leads_a_session_of_its_own(ctx):
    end = run_process(ctx, ["bash", "-c", "ps -o sid= -p $$; echo $$"], env=ENV)
    sid, pid = end.stdout.text().split()
    assert sid == pid


def test_output_of_others_after_its_end_is_still_taken_for_a_moment(ctx):
    end = run_process(ctx, ["bash", "-c", "(sleep 0.03; echo late) & echo early"], env=ENV)
    assert end.stdout.text() == "early\nlate\n"


def test_stragglers_are_killed_and_counted(ctx, tmp_path):
    script = f"(setsid bash -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done' >/dev/null 2>&1 &); while [ ! -s {tmp_path}/pid ]; do :; done"
    end = run_process(ctx, ["bash", "-c", script], env=ENV)
    assert end.stragglers >= 1
    assert end.exit_code == 0
    assert gone(pid_in(tmp_path / "pid"))


def test_a_trap_may_still_speak_after_the_deadline(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "TERM_GRACE_S", 60.0)
    become_subreaper()
    ctx = Harness(Script(), tmp_path).context("bash", {}, timeout_s=1)
    began = time.monotonic()
    script = "trap 'echo cleaning up; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    end = run_process(ctx, ["bash", "-c", script], env=ENV)
    assert end.stopped == "timed_out"
    assert end.stdout.text() == "up\ncleaning up\n"
    assert time.monotonic() - began < 30, "who obeys is not waited for"


def test_secrets_are_found_over_the_borders_of_reads(ctx):
    half = len(SECRET) // 2
    script = f"printf %s '{SECRET[:half]}'; sleep 0.05; printf %s '{SECRET[half:]}'"
    end = run_process(ctx, ["bash", "-c", script], env=ENV)
    assert end.stdout.text() == "[REDACTED]"


def test_several_may_run_side_by_side(ctx):
    ends = []

    def run(number: int) -> None:
        ends.append(run_process(ctx, ["bash", "-c", f"sleep 0.1; echo {number}"], env=ENV, alone=False))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(end.stdout.text() for end in ends) == ["0\n", "1\n", "2\n", "3\n"]
    assert all(end.exit_code == 0 for end in ends)


def test_no_descriptor_of_the_worker_reaches_the_program(ctx, tmp_path):
    with (tmp_path / "open").open("w"):
        end = run_process(ctx, ["bash", "-c", "ls /proc/self/fd | wc -l"], env=ENV)
    assert int(end.stdout.text()) <= 5


def test_nothing_stays_open(ctx):
    before = {entry.name for entry in Path("/proc/self/fd").iterdir()}
    run_process(ctx, ["true"], env=ENV)
    assert {entry.name for entry in Path("/proc/self/fd").iterdir()} == before


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_input_is_read_to_its_end_whether_or_not_it_is_read(ctx, size):
    """More than a pipe holds: nobody has to feed it."""
    assert run_process(ctx, ["wc", "-c"], env=ENV, stdin=b"x" * size).stdout.text().strip() == str(size)
    assert run_process(ctx, ["true"], env=ENV, stdin=b"x" * size).exit_code == 0
