"""Finding and ending process trees: all a job ever started, double-forked daemons included.

Three ways lead to a job's processes. Descent: the worker that runs the job is a subreaper, so whatever is orphaned
under it becomes its own child. Adoption: when a worker dies, its orphans become children of the pool's parent, the next
subreaper. The mark: every process of a job carries `EASYALERT_JOB` in its exec-time environment, which `/proc` shows;
that finds the processes whose worker and pool died together.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from easyalert.runtime import before_everybody, start_ticks

MARK_VARIABLE: Final = "EASYALERT_JOB"
_PAUSE_FIRST_S: Final = 0.002
_PAUSE_CAP_S: Final = 0.05


class Member(NamedTuple):
    """One living process of a tree, told apart from a later one with the same pid."""

    pid: int
    ticks: int


def job_mark(key: str, agent: str) -> str:
    """The mark's value: row key and a digest of the agent's state directory, so that no agent hunts another's."""
    return f"{key}@{agent}"


def family(pid: int) -> set[Member]:
    """`pid` and every living process below it."""
    return _below([pid])


def descendants(pid: int) -> set[Member]:
    """Every living process below `pid`, itself not included; zombies do not count."""
    return _below([pid]) - set(_member(pid))


def orphans(known: Iterable[int]) -> set[Member]:
    """Children of the calling process that are not among `known`, with everything below them."""
    strangers = [child for child in _children(os.getpid()) if child not in set(known)]
    return _below(strangers)


def marked(wanted: str) -> set[Member]:
    """Processes whose mark is `wanted`, or ends with it when it starts with `@`, with everything below them."""
    entry = f"{MARK_VARIABLE}={wanted}".encode()
    found = []
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if entry in environment or (wanted.startswith("@") and _any_of_agent(environment, wanted.encode())):
                found.append(_first_of_namespace(pid))
    return {member for member in _below(found) if member.pid != os.getpid()}


def _first_of_namespace(pid: int) -> int:
    """Process 1 of the process namespace that a marked process was put into, which has no mark itself; else `pid`.

    With it everything in there ends, also what has no mark any more.
    """
    outside, first = _depth(os.getpid()), pid
    while _depth(first) > outside:
        fields = _stat(first)
        parent = 0 if fields is None else int(fields[1])
        if _depth(parent) <= outside:
            break
        first = parent
    return first


def _depth(pid: int) -> int:
    """How many process namespaces the process has a number in, as far as this one sees; 0: it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(b"NSpid:"):
                return len(line.split()) - 1
    return 0


def terminate(members: Iterable[Member]) -> int:
    """Ask them to end (SIGTERM). Returns how many were there."""
    return sum(_send(member, signal.SIGTERM) for member in members)


def kill_all(find: Callable[[], set[Member]], *, give_up_s: float = 3.0, by_birth: bool = True, looks: int = 1) -> int:
    """SIGKILL what `find` finds until it finds nothing, at most for `give_up_s`. Returns how many processes that were.

    Everything is stopped before anything is killed, so that what forks while it is listed does not get away. Whole
    process groups are signalled where they are the tree's alone, which no fork inside of them escapes. `by_birth`: all
    that is found descends from the caller, so that every session but the caller's own was made by one of them.
    Processes that fork faster than they can be listed and each make a session are beyond this: see `confinement`.
    `looks`: so often in a row nothing must be found; more than once where a look can miss a process that lives.
    """
    killed: set[Member] = set()
    pause, give_up = _PAUSE_FIRST_S, time.monotonic() + give_up_s
    with before_everybody():
        while members := _found(find, looks):
            frozen: set[Member] = set()
            while new := members - frozen:  # once at least, however long the first look took
                _send_all(new, signal.SIGSTOP, members, by_birth=by_birth)
                frozen |= new
                if time.monotonic() > give_up:
                    break
                members = find()
            _send_all(frozen, signal.SIGKILL, members | frozen, by_birth=by_birth)
            killed |= frozen
            if time.monotonic() > give_up:
                break
            time.sleep(pause)
            pause = min(pause * 2, _PAUSE_CAP_S)
    return len(killed)


def _found(find: Callable[[], set[Member]], looks: int) -> set[Member]:
    for again in range(looks):
        if again:
            time.sleep(_PAUSE_CAP_S)
        if members := find():
            return members
    return set()


def ask_all(find: Callable[[], set[Member]], *, grace_s: float) -> int:
    """SIGTERM, then up to `grace_s` seconds to obey. Returns how many processes there were at first."""
    there = terminate(find())
    pause, until = _PAUSE_FIRST_S, time.monotonic() + grace_s
    while there and time.monotonic() < until and find():
        time.sleep(pause)
        pause = min(pause * 2, _PAUSE_CAP_S)
    return there


def reap() -> bool:
    """Collect dead children of the calling process. True when it has living ones left.

    For a subreaper this is the exact and cheap test for "nothing is left of the job": one system call.
    """
    try:
        while True:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return True
    except ChildProcessError:
        return False


def _send_all(members: Iterable[Member], number: signal.Signals, tree: set[Member], *, by_birth: bool) -> None:
    """Signal each, and the whole process groups of those that are in a session of the tree's own."""
    foreign = {os.getsid(0)} if by_birth else {os.getsid(0), *_shared_sessions({member.pid for member in tree})}
    done: set[int] = set()
    for member in members:
        with _held(member) as handle:
            if handle is None:
                continue
            place = _place(member.pid)
            if (
                place is not None
                and place.session not in foreign
                and place.group not in done
                and _signal(partial(signal.pidfd_send_signal, handle, signal.SIGSTOP))
            ):
                # it is alive and held, so that its group's number cannot mean another group
                done.add(place.group)
                _signal(partial(os.killpg, place.group, number))
            _signal(partial(signal.pidfd_send_signal, handle, number))


def _send(member: Member, number: signal.Signals) -> bool:
    with _held(member) as handle:
        return handle is not None and _signal(partial(signal.pidfd_send_signal, handle, number))


@contextlib.contextmanager
def _held(member: Member) -> Iterator[int | None]:
    """A handle of exactly this process; None when it is gone."""
    try:
        handle = os.pidfd_open(member.pid)
    except OSError:
        yield None
        return
    try:
        # from here on the handle means one process; compare that it is the one that was listed
        yield handle if start_ticks(member.pid) == member.ticks else None
    finally:
        os.close(handle)


def _signal(send: Callable[[], None]) -> bool:
    try:
        send()
    except OSError:  # ended meanwhile, or a setuid program that is not ours to signal
        return False
    return True


class _Place(NamedTuple):
    group: int
    session: int


def _place(pid: int) -> _Place | None:
    fields = _stat(pid)
    return None if fields is None else _Place(int(fields[2]), int(fields[3]))


def _shared_sessions(tree: set[int]) -> set[int]:
    """Sessions with somebody in them who is neither of the tree nor marked as a job's."""
    sessions: set[int] = set()
    for pid in _all_pids():
        if pid not in tree and (place := _place(pid)) is not None and not _marked(pid):
            sessions.add(place.session)
    return sessions


def _marked(pid: int) -> bool:
    head = MARK_VARIABLE.encode() + b"="
    with contextlib.suppress(OSError):
        return any(entry.startswith(head) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return not Path(f"/proc/{pid}").exists()  # ended meanwhile


def _member(pid: int) -> list[Member]:
    ticks = start_ticks(pid)
    return [] if ticks is None else [Member(pid, ticks)]


def _below(roots: Iterable[int]) -> set[Member]:
    found: set[Member] = set()
    todo = list(roots)
    seen: set[int] = set()
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        found.update(_member(pid))
        todo.extend(_children(pid))
    return found


def _children(pid: int) -> list[int]:
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children.extend(map(int, (task / "children").read_bytes().split()))
        return children
    return _children_by_scan(pid) if Path(f"/proc/{pid}").exists() else []


def _children_by_scan(parent: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN: the parent stands in every process's status line."""
    found = []
    for pid in _all_pids():
        fields = _stat(pid)
        if fields is not None and int(fields[1]) == parent:
            found.append(pid)
    return found


def _stat(pid: int) -> list[bytes] | None:
    """`/proc/PID/stat` from its third field on; None when there is no such process."""
    with contextlib.suppress(OSError, ValueError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat[stat.rindex(b")") + 2 :].split()
    return None


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _any_of_agent(environment: list[bytes], suffix: bytes) -> bool:
    head = MARK_VARIABLE.encode() + b"="
    return any(entry.startswith(head) and entry.endswith(suffix) for entry in environment)
