from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from easyalert import cgroups
from easyalert.cgroups import Group, find_place
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

MOUNTS = """\
24 1 0:22 / /proc rw,relatime - proc proc rw
30 24 0:26 / {root}/pids rw,relatime shared:9 - cgroup cgroup rw,pids
31 24 0:27 / {root}/memory rw,relatime - cgroup cgroup rw,memory
32 24 0:28 {below} {root}/unified rw,relatime - cgroup2 cgroup2 rw
"""
OWN = "8:pids:/service\n4:memory:/elsewhere\n0::/slice/service\n"


def real_groups() -> list[Path]:
    """Where groups can be made here: of version 1, of version 2, of both, or nowhere."""
    own = Path("/proc/self/cgroup").read_text()
    found = [cgroups._own_group(version, cgroups._mounts(None), own) for version in (1, 2)]
    return [folder for folder in found if folder is not None and os.access(folder / "cgroup.procs", os.W_OK)]


@pytest.fixture(params=real_groups(), ids=str)
def group(request):
    group = Group(request.param / f"ea-test-{os.getpid()}")
    group.make(None)
    yield group
    group.end(within_s=3)
    eventually(group.remove, what="the group removed")


def member(group: Group, command: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["sh", "-c", f"echo 0 > {group.folder}/cgroup.procs && echo up && {command}"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.stdout.close()
    return process


def test_ending_a_group_ends_whatever_was_born_in_it(group):
    process = member(group, "trap '' TERM; (setsid sleep 60 &); sleep 60; true")
    eventually(lambda: len(group.members()) == 3, what="three members")
    assert not group.remove(), "somebody is in it"
    assert group.end(within_s=3)
    assert process.wait() == -9
    assert group.members() == []
    eventually(group.remove, what="the group removed")
    assert group.remove(), "again, and it is gone already"


def test_a_member_ends_all_others_and_lives_on(group):
    program = (
        "import sys; from pathlib import Path; from easyalert.cgroups import Group; import subprocess\n"
        "group = Group(Path(sys.argv[1])); group.make(100); group.enter()\n"
        "children = [subprocess.Popen(['sleep', '60'], start_new_session=True) for _ in range(3)]\n"
        "print(len(group.members()), group.end(within_s=3), len(group.members()), [child.wait() for child in children])\n"
        "print(subprocess.run(['echo', 'born later'], capture_output=True, text=True).stdout.strip())\n"
        "group.leave(); print(group.remove())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(group.folder)], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout == "4 True 1 [-9, -9, -9]\nborn later\nTrue\n"


def test_a_limit_holds(group):
    if not (group.folder / "pids.max").exists():
        return  # this hierarchy has no such controller, and says so: `Place.limits`
    group.make(5)
    process = member(group, "exec 2>/dev/null; for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait")
    assert process.wait() == 2, "it could not fork"
    assert len(group.members()) == 4


def test_a_group_that_is_not_there_has_nobody_in_it(tmp_path):
    group = Group(tmp_path / "none")
    assert group.members() == []
    assert group.end(within_s=1)
    assert group.remove()


@pytest.mark.parametrize(("below", "wanted"), [("/", "slice/service"), ("/slice", "service")])
def test_places_are_read_from_the_kernels_tables(tmp_path, below, wanted):
    table = MOUNTS.format(root=tmp_path, below=below)
    assert find_place(mounts=table, own=OWN) is None, "nothing is there"
    unified = tmp_path / "unified" / wanted
    unified.mkdir(parents=True)
    assert find_place(mounts=table, own=OWN) is None, "it is no group"
    (unified / "cgroup.procs").touch()
    (unified / "cgroup.type").touch()
    (unified / "cgroup.subtree_control").write_text("")
    place = find_place(mounts=table, own=OWN)
    assert place is not None
    assert place.folder == unified
    (unified / "cgroup.subtree_control").write_text("memory pids\n")
    assert find_place(mounts=table, own=OWN) == cgroups.Place(unified, limits=True, memory=unified)
    first = tmp_path / "pids" / "service"
    first.mkdir(parents=True)
    (first / "cgroup.procs").touch()
    assert find_place(mounts=table, own=OWN) == cgroups.Place(first, limits=True), "no hierarchy for memory there"


def test_the_group_of_the_agents_own_programs_is_not_the_place(tmp_path):
    inner = tmp_path / "unified" / "slice" / cgroups.PROGRAMS_GROUP
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "cgroup.procs").touch()
    (inner.parent / "cgroup.type").touch()
    (inner.parent / "cgroup.procs").write_text("1\n")
    (inner.parent / "cgroup.subtree_control").write_text("pids\n")
    own = f"0::/slice/{cgroups.PROGRAMS_GROUP}\n"
    assert find_place(mounts=MOUNTS.format(root=tmp_path, below="/"), own=own) == cgroups.Place(
        inner.parent, limits=True
    )


def test_processes_keep_a_group_from_getting_a_controller(tmp_path):
    (tmp_path / "cgroup.type").touch()
    (tmp_path / "cgroup.procs").write_text("4711\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    assert not cgroups._gives(tmp_path, "pids")
    assert (tmp_path / "cgroup.subtree_control").read_text() == ""


def test_a_path_outside_of_what_is_mounted_is_no_group(tmp_path):
    table = MOUNTS.format(root=tmp_path, below="/slice/other")
    assert find_place(mounts=table, own="0::/slice/service\n") is None


def test_stepping_aside_is_for_those_who_have_a_group_to_themselves():
    own = "open('/proc/self/cgroup').read()"
    program = f"from easyalert.cgroups import step_aside; before = {own}; step_aside(); print(before == {own})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n", "this test's own group has others in it"
