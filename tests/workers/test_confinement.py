from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from easyalert.cgroups import Place, find_place
from easyalert.hardening import become_subreaper
from tests.support.growing import LIFE_S, Tree
from tests.support.waiting import eventually
from workers import confinement
from workers.confinement import WORKERS_SHARE, Confinement, find_confinement, threads_of
from workers.executors.script import Script
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system

MOST = 20


@pytest.fixture
def inside(monkeypatch):
    """Makes this process a worker with the given confinement, and undoes it."""
    become_subreaper()
    entered: list[Confinement] = []

    def enter(made: Confinement) -> Confinement:
        monkeypatch.setattr(confinement, "_mine", None)
        made.enter()
        entered.append(made)
        return made

    yield enter
    for made in entered:
        made.end()
        made.leave()


def crowd(tmp_path: Path, count: int) -> tuple[str, Path]:
    """A script that starts `count` processes of 10 s each and writes down how many it got."""
    told = tmp_path / "told"
    script = f"for i in $(seq {count}); do sleep 10 & done 2>/dev/null; jobs -p | wc -l > {told}; sleep 10"
    return script, told


def _threads() -> Iterator[Path]:
    return Path("/proc/self/task").iterdir()


def run(tmp_path: Path, script: str) -> dict[str, Any]:
    return Harness(Script(), tmp_path).run("bash", {"script": script}, timeout_s=20).recorded


def test_the_best_of_this_machine_is_found():
    found = find_confinement("0123456789abcdef", 7)
    place = find_place()
    assert found.most == 7
    if place is None:
        assert found.way in {"rlimit", "counting"}
    else:
        assert found.way.startswith("cgroup")
        assert not list(place.folder.glob("easyalert-0123456789abcdef*")), "nothing is left of the trial"
    assert "7" in found.sentence or not found.place


@pytest.mark.parametrize("way", ["cgroup", "cgroup without limit", "rlimit", "counting"])
def test_each_way_has_a_sentence(way):
    assert Confinement("a", 5, None, way).sentence
    assert "no limit" in Confinement("a", 0, None, "counting").sentence


def test_outside_a_worker_nothing_is_limited(monkeypatch):
    monkeypatch.setattr(confinement, "_mine", None)
    assert confinement.mine().most == 0
    assert not confinement.mine().overgrown()
    with confinement.mine().starting():
        pass


def test_a_group_cannot_be_outgrown_and_is_removed(inside, tmp_path):
    found = find_confinement("test-of-limits", MOST)
    if found.way != "cgroup":
        assert found.place is None or not found.place.limits
        return  # the other ways have tests of their own
    inside(found)
    assert found.place is not None
    (folder,) = found.place.folder.glob("easyalert-test-of-limits-*")
    assert (folder / "pids.max").read_text().strip() == str(MOST + WORKERS_SHARE)
    children = [subprocess.Popen(["sleep", "60"]) for _ in range(MOST + WORKERS_SHARE - len(list(_threads())))]
    with pytest.raises(BlockingIOError):
        subprocess.Popen(["sleep", "60"])
    assert found.end() >= len(children)
    assert all(child.wait() == -9 or child.returncode == 0 for child in children)
    assert (folder / "pids.max").read_text().strip() == str(MOST + WORKERS_SHARE)
    assert found.end() == 0
    found.leave()
    assert not folder.exists()


def test_groups_of_dead_workers_are_found_by_those_who_come_later():
    place = find_place()
    if place is None:
        assert Confinement("a").end_others(set()) == Confinement("a").end_of(1) == 0
        return
    program = (
        "import os, subprocess, sys\nfrom workers.confinement import find_confinement\n"
        "find_confinement('test-of-leftovers', 50).enter()\n"
        "subprocess.Popen(['sh', '-c', '(setsid sleep 60 &); sleep 60'])\nprint('up', flush=True)\nos.kill(os.getpid(), 9)"
    )
    dead = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]
    for process in dead:
        assert process.stdout.read(3) == b"up\n"
        process.stdout.close()
        process.wait()
    ours = Confinement("test-of-leftovers", 50, place, "cgroup")
    assert len(list(place.folder.glob("easyalert-test-of-leftovers-*"))) == 2
    assert ours.end_of(dead[0].pid, 1) == 0, "another process that had this pid"
    assert ours.end_of(dead[0].pid) >= 1
    assert len(list(place.folder.glob("easyalert-test-of-leftovers-*"))) == 1
    assert ours.end_others({dead[1].pid}) == 0
    assert ours.end_others(set()) >= 1
    assert not list(place.folder.glob("easyalert-test-of-leftovers-*"))


def test_a_worker_that_gets_no_group_works_without(inside, tmp_path):
    made = inside(Confinement("a", MOST, Place(tmp_path / "not-there", limits=True), "cgroup"))
    assert made.way == "counting"
    assert made.place is None


def test_what_has_too_many_processes_is_ended_where_nothing_else_limits_it(inside, tmp_path):
    inside(Confinement("a", MOST, None, "counting"))
    script, _ = crowd(tmp_path, MOST + 10)
    result = run(tmp_path, script)
    assert result["status"] == "error"
    assert "SCRIPT_MAX_PROCESSES" in str(result["error"])
    assert confinement.mine().end() == 0


def test_as_many_as_allowed_are_left_alone(inside, tmp_path):
    inside(Confinement("a", MOST, None, "counting"))
    told = tmp_path / "told"
    result = run(tmp_path, f"for i in $(seq {MOST - 5}); do sleep 0.6 & done; wait; echo all > {told}")
    assert result["status"] == "success"
    assert told.read_text() == "all\n"


def test_the_accounts_limit_is_lowered_for_programs_only(inside):
    made = inside(Confinement("a", MOST, None, "rlimit"))
    before = subprocess.run(
        ["sh", "-c", "grep 'Max processes' /proc/self/limits"], capture_output=True, check=True
    ).stdout
    with made.starting():
        lowered = subprocess.run(
            ["grep", "Max processes", "/proc/self/limits"], capture_output=True, text=True, check=True
        )
    soft = int(lowered.stdout.split()[2])
    assert MOST < soft <= threads_of(os.getuid()) + MOST + 200
    after = subprocess.run(
        ["sh", "-c", "grep 'Max processes' /proc/self/limits"], capture_output=True, check=True
    ).stdout
    assert after == before


def test_threads_of_the_account_are_counted():
    before = threads_of(os.getuid())
    assert before >= 1
    assert threads_of(54_322) == 0


def test_a_tree_that_makes_sessions_all_the_time_is_ended(inside, tmp_path):
    """With the witness: see tests/support/growing.py for its bounds."""
    inside(find_confinement("test-of-growth", 100))
    tree = Tree(tmp_path, "sessions")
    params: dict[str, Any] = tree.parameters
    file = tmp_path / "tree.py"
    file.write_text(params["script"])
    script = subprocess.Popen([sys.executable, str(file), *map(str, params["args"])], stdout=subprocess.DEVNULL)
    eventually(lambda: tree.look() or tree.begun, what="the tree")
    assert confinement.mine().end() >= 1
    assert eventually(tree.look, within=LIFE_S / 2, what="its end, not the one it comes to by itself")
    script.wait()
    tree.close()
