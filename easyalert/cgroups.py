"""Control groups of the kernel: where this process may make some, and one of them as an object.

A process can leave its parent, its session and its process group, but not its control group: whatever it forks is
born in it. So a group ends a tree exactly, however fast that grows. Two ways, both without a race against fork: writing
to `cgroup.kill` (version 2, Linux 5.14), and a limit of no process at all (`pids.max` 0, versions 1 and 2), after which
the members can only become fewer.

Version 1 is used where the controller `pids` hangs there, version 2 otherwise. Nothing is ever made outside the group
this process was started in. Source: the kernel's documents cgroup-v1/pids.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easyalert.runtime import before_everybody

PROGRAMS_GROUP: Final = "easyalert-agent"
"""Version 2 gives controllers to the children of an empty group only: the agent's own programs move into this one."""
_BATCH: Final = 200
"""Handles held at once while members are killed: the soft limit of open files may be 1,024."""
_PAUSE_S: Final = 0.002


@dataclass(frozen=True)
class Place:
    """A folder of the control group file system below which this process may make groups."""

    folder: Path
    limits: bool
    """Groups in it can limit their number of processes."""
    memory: Path | None = None
    """Where groups can limit memory: the same folder with version 2, one of another hierarchy with version 1."""


class Group:
    """One group. Where the kernel refuses, methods raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._left: Path | None = None
        """The group this process was in before `enter`."""

    def make(self, most: int | None) -> None:
        """Make it, with room for at most `most` processes and threads (None: no limit). An old one is used again."""
        self.folder.mkdir(mode=0o755, exist_ok=True)
        self._limit("max" if most is None else str(most))

    def enter(self) -> None:
        """Move the calling process, all its threads, into it."""
        if self._left is None:
            self._left = _own(self.folder)
        _write(self.folder / "cgroup.procs", "0")

    def leave(self) -> None:
        """Move the calling process back to where it was."""
        if self._left is not None:
            _write(self._left / "cgroup.procs", "0")

    def members(self) -> list[int]:
        """Pids of the living processes in it; none when it does not exist."""
        with contextlib.suppress(OSError):
            return [int(line) for line in (self.folder / "cgroup.procs").read_bytes().split()]
        return []

    def end(self, *, within_s: float) -> bool:
        """Kill every member, the caller excepted. True when none is left."""
        if os.getpid() in self.members():
            return self._end_around_me(within_s)
        with contextlib.suppress(OSError):  # too old a kernel, or gone already
            _write(self.folder / "cgroup.kill", "1")
        with contextlib.suppress(OSError):
            self._limit("0")
        return self._kill_until_empty(within_s)

    def remove(self) -> bool:
        """True when it is gone; False while there is still somebody in it."""
        try:
            self.folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True

    def limit_memory(self, most_bytes: int) -> None:
        """All its processes together, swap included, from now on. Raises OSError where it cannot."""
        if (self.folder / "memory.max").exists():
            _write(self.folder / "memory.max", str(most_bytes))
            names = {"memory.swap.max": "0"}
        else:
            _write(self.folder / "memory.limit_in_bytes", str(most_bytes))
            names = {"memory.memsw.limit_in_bytes": str(most_bytes)}
        for name, value in names.items():
            with contextlib.suppress(OSError):  # a kernel without accounts of swap
                _write(self.folder / name, value)

    def kills_for_memory(self) -> int:
        """How many processes the kernel has killed since the group was made because it was out of memory."""
        for name in ("memory.events", "memory.oom_control"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                for line in (self.folder / name).read_text(encoding="ascii").splitlines():
                    if line.split()[0] == "oom_kill":
                        return int(line.split()[1])
        return 0

    def _end_around_me(self, within_s: float) -> bool:
        if (self.folder / "pids.max").exists():
            before = (self.folder / "pids.max").read_text(encoding="ascii").strip()
            self._limit("0")
            try:
                return self._kill_until_empty(within_s)
            finally:
                self._limit(before)
        if self._left is not None and (self.folder / "cgroup.kill").exists():
            self.leave()  # for the moment of the blow
            try:
                _write(self.folder / "cgroup.kill", "1")
                return self._kill_until_empty(within_s)
            finally:
                self.enter()
        return self._kill_until_empty(within_s)

    def _kill_until_empty(self, within_s: float) -> bool:
        me, until = os.getpid(), time.monotonic() + within_s
        with before_everybody():
            while others := [pid for pid in self.members() if pid != me]:
                for start in range(0, len(others), _BATCH):
                    self._kill(others[start : start + _BATCH])
                if time.monotonic() > until:
                    return False
                time.sleep(_PAUSE_S)
        return True

    def _kill(self, pids: list[int]) -> None:
        handles: dict[int, int] = {}
        try:
            for pid in pids:
                with contextlib.suppress(OSError):
                    handles[pid] = os.pidfd_open(pid)
            # who is a member now and has the pid of a handle that lives is the handle's process
            for pid in handles.keys() & set(self.members()):
                with contextlib.suppress(OSError):
                    signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        finally:
            for handle in handles.values():
                os.close(handle)

    def _limit(self, most: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _write(self.folder / "pids.max", most)


def find_place(*, mounts: str | None = None, own: str | None = None) -> Place | None:
    """Where this process may make groups; None: nowhere. `mounts` and `own` replace the kernel's tables."""
    own = Path("/proc/self/cgroup").read_text(encoding="utf-8") if own is None else own
    for version in (1, 2):
        group = _own_group(version, _mounts(mounts), own)
        if group is None:
            continue
        if version == 2 and group.name == PROGRAMS_GROUP:
            group = group.parent
        if _may_be_used(group):
            if version == 1:
                return Place(group, limits=True, memory=_memory_group(_mounts(mounts, "memory"), own))
            return Place(group, _gives(group, "pids"), group if _gives(group, "memory") else None)
    return None


def _may_be_used(group: Path) -> bool:
    return os.access(group, os.W_OK | os.X_OK) and os.access(group / "cgroup.procs", os.W_OK)


def _memory_group(mounts: dict[int, list[tuple[Path, str]]], own: str) -> Path | None:
    """This process's group in the memory hierarchy of version 1, where groups may be made in it."""
    group = _own_group(1, mounts, own, "memory")
    return group if group is not None and _may_be_used(group) else None


def step_aside() -> None:
    """At the start of an agent that has a version 2 group to itself: make room for groups with limits below it.

    Nothing happens where the group is not this process's alone: others were not asked.
    """
    group = _own_group(2, _mounts(None), Path("/proc/self/cgroup").read_text(encoding="utf-8"))
    if group is None or group.name == PROGRAMS_GROUP or not os.access(group / "cgroup.subtree_control", os.W_OK):
        return
    with contextlib.suppress(OSError):
        available = (group / "cgroup.controllers").read_text(encoding="ascii").split()
        if "pids" not in available or Group(group).members() != [os.getpid()]:
            return
        inner = Group(group / PROGRAMS_GROUP)
        inner.make(None)
        inner.enter()
        _gives(group, "pids")
        _gives(group, "memory")


def _gives(group: Path, controller: str) -> bool:
    """Whether groups below a version 2 group have the controller; switches it on where that harms nobody.

    With processes in it, the group would become the root of a threaded subtree, which no process can enter. The root of
    all groups, which has no type, may have processes.
    """
    switch = group / "cgroup.subtree_control"
    with contextlib.suppress(OSError):
        if controller in switch.read_text(encoding="ascii").split():
            return True
        if not (group / "cgroup.type").exists() or not Group(group).members():
            _write(switch, f"+{controller}")
            return True
    return False


def _own(sibling: Path) -> Path:
    """The calling process's group in the hierarchy that `sibling` belongs to."""
    own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    for version, controller in ((1, "pids"), (1, "memory"), (2, "pids")):
        for mount, root in _mounts(None, controller).get(version, ()):
            if sibling.is_relative_to(mount):
                group = _below(mount, root, version, own, controller)
                if group is not None:
                    return group
    raise FileNotFoundError(f"{sibling} is in no hierarchy of control groups")


def _own_group(
    version: int, mounts: dict[int, list[tuple[Path, str]]], own: str, controller: str = "pids"
) -> Path | None:
    for mount, root in mounts.get(version, ()):
        group = _below(mount, root, version, own, controller)
        if group is not None and group.is_dir():
            return group
    return None


def _below(mount: Path, root: str, version: int, own: str, controller: str = "pids") -> Path | None:
    """Where the group of /proc/self/cgroup shows under a mount that shows `root` of the hierarchy."""
    for line in own.splitlines():
        number, controllers, path = line.split(":", 2)
        ours = controller in controllers.split(",") if version == 1 else number == "0"
        if ours and Path(path).is_relative_to(root):
            return mount / Path(path).relative_to(root)
    return None


def _mounts(table: str | None, controller: str = "pids") -> dict[int, list[tuple[Path, str]]]:
    """Version → mount points, each with the part of the hierarchy it shows (proc(5), mountinfo)."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8") if table is None else table
    found: dict[int, list[tuple[Path, str]]] = {1: [], 2: []}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind[0] == "cgroup2":
            found[2].append((Path(fields[4]), fields[3]))
        elif kind[0] == "cgroup" and controller in kind[2].split(","):
            found[1].append((Path(fields[4]), fields[3]))
    return found


def _write(file: Path, text: str) -> None:
    # not write_text: it would say "created" for a file that the kernel has not made
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)
