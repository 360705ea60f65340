"""The memory of one agent's processes as the kernel accounts for it. A library of `bench/footprint.py` and of tests.

A page that n processes share counts as 1/n in each one's PSS, so the sum over a family is what the family really holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process of the agent. Sizes in KiB."""

    pid: int
    name: str
    """As supervisord calls it; `workers/2` is the second child of the program `workers`."""
    pss: int
    private: int
    rss: int


def family(root: int) -> list[Process]:
    """The agent below supervisord's pid `root`, without what its jobs have started.

    None of it is asked anything: a supervisord that answers who its programs are is larger for it.
    Raises OSError where this account may not look: the agent's processes are closed to all but root.
    """
    return [found for pid, name in _named(root) if (found := _process(pid, name)) is not None]


def cpu_seconds(root: int) -> float:
    """CPU time the living processes of the family have used, user and system."""
    total = 0
    for pid, _ in _named(root):
        fields = _stat(pid)
        total += int(fields[11]) + int(fields[12]) if fields else 0
    return total / _TICKS_PER_S


def _named(root: int) -> Iterator[tuple[int, str]]:
    children = _children_of_all()
    yield root, "supervisord"
    for program in children.get(root, []):
        name = _program(program)
        yield program, name
        # what is below these was started by jobs
        yield from ((pid, f"{name}/{number}") for number, pid in enumerate(children.get(program, []), 1))


def _program(pid: int) -> str:
    """By its command line: the programs of `supervisord.conf` are `python -I -m NAME`, Redis becomes its server."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "other"
    if Path(words[0].split(" ")[0]).name in {"redis-server", "valkey-server"}:  # they write more behind their name
        return "redis"
    return words[3] if words[1:3] == ["-I", "-m"] else "other"


def _children_of_all() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid in sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        if fields := _stat(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    return children


def _stat(pid: int) -> list[str]:
    """The fields from the state on; nothing when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _process(pid: int, name: str) -> Process | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines)}
    return Process(pid, name, sizes["Pss"], sizes["Private_Clean"] + sizes["Private_Dirty"], sizes["Rss"])
