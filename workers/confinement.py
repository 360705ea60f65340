"""What keeps a job's processes together and bounded: the one place that knows how, for every kind of machine.

Each worker lives in a control group of its own, made at its birth, and everything its jobs start is born in there: no
step per job, and nothing gets out by forking, however often or fast. The group has a limit on processes and threads
(`SCRIPT_MAX_PROCESSES`), and ending it is exact. It outlives worker, pool and supervisor: whoever comes next finds it.

Where no groups can be made (a container without rights, an account without delegation), the account's limit on
processes (RLIMIT_NPROC) is lowered around each start of a program to what the account has plus SCRIPT_MAX_PROCESSES.
That needs to see all of the account's processes, so not in a container, and does not bind root; there the worker counts
what its job has and ends a job that has too many. Trees are then ended by `workers.trees`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from easyalert.cgroups import Group, Place, find_place
from easyalert.runtime import this_process
from workers import trees

log = logging.getLogger(__name__)

Way = Literal["cgroup", "cgroup without limit", "rlimit", "counting"]

WORKERS_SHARE: Final = 16
"""Room in a worker's group for the worker itself and its threads."""
_WORKERS_MEMORY_MB: Final = 128
"""Room in a worker's group for the worker's own memory, which it shares with its pool for the greater part."""
_END_WITHIN_S: Final = 3.0
_COUNT_AGAIN_S: Final = 5.0
_INITIAL_NAMESPACES: Final = {"pid": "pid:[4026531836]", "user": "user:[4026531837]"}
"""The kernel's PROC_PID_INIT_INO and PROC_USER_INIT_INO. Elsewhere only a part of the account's processes is seen."""


@dataclass
class Confinement:
    """Made by the pool's parent before its first fork; every fork inherits it."""

    agent: str
    """Digest of the state directory: part of the groups' names, so that no agent touches another's."""
    most: int = 0
    """Processes and threads a job may have at once; 0: no limit."""
    place: Place | None = None
    way: Way = "counting"
    memory_mb: int = 0
    """Memory a job may have; 0: no limit. Kept here only where `limits_memory`."""
    _counted: tuple[float, int] = (-_COUNT_AGAIN_S, 0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sentence(self) -> str:
        """For people."""
        limit = f"at most {self.most} processes and threads a job" if self.most else "no limit on a job's processes"
        match self.way:
            case "cgroup":
                memory = (
                    f", {self.memory_mb} MB of memory" if self.memory_mb and self.place and self.place.memory else ""
                )
                return f"{limit}{memory}, in control groups"
            case "cgroup without limit":
                return "control groups that cannot limit the number of processes; jobs that have too many are ended"
            case "rlimit":
                return f"{limit}, by the account's limit (RLIMIT_NPROC); no control groups"
            case "counting":
                return f"{limit}, by counting; no control groups"

    # ---- in a worker ------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """At the worker's birth. Whatever it starts from now on is in its group. Never raises."""
        global _mine  # noqa: PLW0603 - a signal handler and the running of programs have to find it
        _mine = self
        if self.place is None:
            return
        me = this_process()
        group = Group(self._folder(self.place, me.pid, me.start_ticks))
        try:
            group.make(self.most + WORKERS_SHARE if self.most else None)
            group.enter()
        except OSError as error:
            log.warning("this worker has no control group (%s); its jobs' processes are found by other means", error)
            group.remove()
            self.place, self.way = None, "counting"
        else:
            self._group = group
            self._limit_memory(self.place, group)

    _group: Group | None = None
    _memory: Group | None = None
    """The group that has the limit on memory: the same with version 2."""

    def _limit_memory(self, place: Place, group: Group) -> None:
        if place.memory is None or not self.memory_mb:
            return
        memory = group if place.memory == place.folder else Group(place.memory / group.folder.name)
        try:
            if memory is not group:
                memory.make(None)
            memory.limit_memory((self.memory_mb + _WORKERS_MEMORY_MB) << 20)
            if memory is not group:
                memory.enter()
        except OSError as error:
            log.warning("this worker's control group does not limit memory (%s); each process is limited", error)
            if memory is not group:
                memory.remove()
        else:
            self._memory = memory

    @property
    def limits_memory(self) -> bool:
        """True when the job's memory is limited as a whole."""
        return self._memory is not None

    def kills_for_memory(self) -> int:
        """How often the kernel has killed a process of this worker's group for its memory."""
        return 0 if self._memory is None else self._memory.kills_for_memory()

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Around the start of a program: what it inherits."""
        if self.way != "rlimit" or not self.most:
            yield
            return
        with self._lock:
            soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            room = self._of_account() + self.most
            # the hard limit stays: this process could not raise it again
            resource.setrlimit(resource.RLIMIT_NPROC, (_smaller(_smaller(room, soft), hard), hard))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))

    def overgrown(self) -> bool:
        """True when the job has too many processes, and nothing else keeps it from that."""
        if not self.most or self.way not in {"counting", "cgroup without limit"}:
            return False
        return len(trees.descendants(os.getpid())) > self.most

    def end(self) -> int:
        """Kill everything the worker's job has started; returns how many processes that were."""
        count = 0
        if self._group is not None:
            count = len(self._group.members()) - 1
            if count > 0:
                with contextlib.suppress(OSError):
                    self._group.end(within_s=_END_WITHIN_S)
                trees.reap()
        me = os.getpid()
        count += trees.kill_all(lambda: trees.descendants(me))
        trees.reap()
        return count

    def leave(self) -> None:
        """At the end of a worker that nobody will clean up after: out of its group, and the group removed."""
        for group in (self._memory, self._group):
            if group is not None:
                with contextlib.suppress(OSError):
                    group.leave()
                group.remove()

    def _of_account(self) -> int:
        counted_at, count = self._counted
        if time.monotonic() - counted_at >= _COUNT_AGAIN_S:
            count = threads_of(os.getuid())
            self._counted = (time.monotonic(), count)
        return count

    # ---- beside the workers -----------------------------------------------------------------------------------------

    def end_of(self, pid: int, ticks: int | None = None) -> int:
        """Kill the worker `pid` and everything its jobs have started, and remove its group.

        Returns how many processes that were. `ticks`: only of the worker that started then (None: whenever).
        """
        if self.place is None:
            return 0
        return sum(_end(folder) for folder in self._folders(f"{self._prefix}{pid}.{ticks or '*'}"))

    def end_others(self, living: set[int]) -> int:
        """Kill and remove every group of this agent whose worker is not among `living`."""
        if self.place is None:
            return 0
        count = 0
        for folder in self._folders(f"{self._prefix}*"):
            pid = folder.name.removeprefix(self._prefix).partition(".")[0]
            if not pid.isdecimal() or int(pid) not in living:
                count += _end(folder)
        return count

    def _folders(self, pattern: str) -> list[Path]:
        """Groups of that name: those with the processes before those with a limit on memory alone."""
        places = [] if self.place is None else [self.place.folder, self.place.memory]
        unique = dict.fromkeys(place for place in places if place is not None)
        return [folder for place in unique for folder in place.glob(pattern)]

    @property
    def _prefix(self) -> str:
        return f"easyalert-{self.agent}-"

    def _folder(self, place: Place, pid: int, ticks: int) -> Path:
        return place.folder / f"{self._prefix}{pid}.{ticks}"


_mine: Confinement | None = None


def mine() -> Confinement:
    """The calling worker's; outside a worker one that only counts, without limit."""
    return Confinement("") if _mine is None else _mine


def find_confinement(agent: str, most: int, memory_mb: int = 0) -> Confinement:
    """The best this machine has to offer. Never raises."""
    place = None
    with contextlib.suppress(OSError, ValueError):
        place = find_place()
    if place is not None and _usable(place, agent):
        return Confinement(agent, most, place, "cgroup" if place.limits else "cgroup without limit", memory_mb)
    bound = os.getuid() != 0 and _sees_the_whole_machine()
    return Confinement(agent, most, None, "rlimit" if bound else "counting", memory_mb)


def _usable(place: Place, agent: str) -> bool:
    """Some file systems of control groups say that they can be written, and refuse."""
    trial = Group(place.folder / f"easyalert-{agent}-trial.{os.getpid()}")
    try:
        trial.make(None)
    except OSError:
        return False
    return trial.remove()


def _end(folder: Path) -> int:
    group = Group(folder)
    count = len(group.members())
    with contextlib.suppress(OSError):
        group.end(within_s=_END_WITHIN_S)
    if not group.remove():
        log.warning("the control group %s cannot be removed yet", folder)
    return count


def _sees_the_whole_machine() -> bool:
    with contextlib.suppress(OSError):
        return all(str(Path("/proc/self/ns", name).readlink()) == own for name, own in _INITIAL_NAMESPACES.items())
    return False


def threads_of(account: int) -> int:
    """Threads of all processes of a user id: what RLIMIT_NPROC counts."""
    count = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, KeyError):
            lines = (entry / "status").read_text(encoding="utf-8", errors="replace").splitlines()
            fields = dict(line.split(":", 1) for line in lines if ":" in line)
            if int(fields["Uid"].split()[0]) == account:
                count += int(fields.get("Threads", "1"))
    return count


def _smaller(one: int, other: int) -> int:
    """Of two limits, where -1 (RLIM_INFINITY) means none."""
    limits = [limit for limit in (one, other) if limit != resource.RLIM_INFINITY]
    return min(limits, default=resource.RLIM_INFINITY)
