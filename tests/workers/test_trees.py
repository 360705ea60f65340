from __future__ import annotations

import os
import subprocess
import time

import pytest

from easyalert.hardening import become_subreaper
from tests.support.waiting import eventually
from tests.workers.chain import gone, pid_in
from workers import trees

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _reaper():
    """What these tests start stays below this process, and is gone afterwards."""
    become_subreaper()
    before = trees.descendants(os.getpid())
    yield
    trees.kill_all(lambda: trees.descendants(os.getpid()) - before)


@pytest.fixture
def family(tmp_path):
    """A parent, its child, and a double-forked daemon; all of them ignore SIGTERM."""
    script = f"""
    trap '' TERM
    echo $$ > {tmp_path}/parent
    (echo $BASHPID > {tmp_path}/child; while :; do sleep 0.1; done) &
    (setsid bash -c 'echo $$ > {tmp_path}/daemon; while :; do sleep 0.1; done' &)
    while :; do sleep 0.1; done
    """
    process = subprocess.Popen(["bash", "-c", script], env={**os.environ, "EASYALERT_JOB": "job_1@agent"})
    pids = [pid_in(tmp_path / name) for name in ("parent", "child", "daemon")]
    yield process, pids
    process.kill()
    process.wait()


def test_a_family_is_found_by_descent(family):
    process, (parent, child, daemon) = family
    assert process.pid == parent
    below = {member.pid for member in trees.descendants(parent)}
    assert child in below
    assert parent not in below
    assert daemon not in below, "it has left its parent"
    assert {parent, child} <= {member.pid for member in trees.family(parent)}
    everything = {member.pid for member in trees.descendants(os.getpid())}
    assert {parent, child, daemon} <= everything


def test_orphans_are_children_nobody_knows(family):
    _, (parent, child, daemon) = family
    found = {member.pid for member in trees.orphans([parent])}
    assert daemon in found
    assert not {parent, child} & found


def test_a_family_is_found_by_its_mark(family):
    pids = family[1]
    assert set(pids) <= {member.pid for member in trees.marked("job_1@agent")}
    assert set(pids) <= {member.pid for member in trees.marked("@agent")}
    assert trees.marked("job_1@other") == set()
    assert trees.marked("@other") == set()
    assert trees.marked("ob_1@agent") == set()


def test_killing_leaves_nothing_and_counts(family):
    process, pids = family
    killed = trees.kill_all(lambda: trees.marked("job_1@agent"))
    assert killed >= 3
    assert all(map(gone, pids))
    process.wait()


def test_sigterm_comes_first_and_sigkill_for_those_that_ignore_it(tmp_path):
    polite = subprocess.Popen(
        [
            "bash",
            "-c",
            f"trap 'echo bye > {tmp_path}/said; exit' TERM; echo > {tmp_path}/up; while :; do sleep 0.02; done",
        ]
    )
    eventually((tmp_path / "up").exists, what="the trap")
    began = time.monotonic()
    assert trees.ask_all(lambda: trees.family(polite.pid), grace_s=60) >= 1
    assert time.monotonic() - began < 30, "nobody waits for what has obeyed"
    assert (tmp_path / "said").read_text() == "bye\n"
    assert polite.wait() == 0


def test_a_process_that_hops_from_pid_to_pid_is_caught():
    # never more than two processes at once, and at most 300 hops: a test must not endanger its machine
    script = "hop() { [ $1 -gt 0 ] && { (sleep 0.01; hop $(($1 - 1))) & }; }; hop 300"
    first = subprocess.Popen(["bash", "-c", script])
    first.wait()
    me = os.getpid()
    assert trees.descendants(me)
    assert trees.kill_all(lambda: trees.descendants(me)) >= 1
    assert trees.descendants(me) == set()


def test_another_process_with_the_same_pid_is_not_hit():
    process = subprocess.Popen(["sleep", "30"])
    (member,) = trees.family(process.pid)
    assert trees.terminate([member._replace(ticks=member.ticks - 1)]) == 0
    assert process.poll() is None
    assert trees.terminate([member]) == 1
    assert process.wait() == -15


def test_reaping_says_whether_anything_is_left():
    pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "30")
    assert trees.reap() is True
    os.kill(pid, 9)
    eventually(lambda: not trees.reap(), what="nothing left")


def test_children_are_found_without_the_kernels_list_too(family):
    _, (parent, child, _) = family
    assert child in trees._children_by_scan(parent)


def test_what_is_gone_has_no_family():
    process = subprocess.Popen(["true"])
    process.wait()
    assert trees.family(process.pid) == set()
