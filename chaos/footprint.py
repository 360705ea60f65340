"""What an agent and the control plane hold: memory, open files, files on disk; and the judgement that it does not grow.

Looked at before the faults, after them and once more, each time right after the same quiet jobs. What is kept by intent
is not counted: the journal's rows (de-duplication memory), Redis's file, logs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from chaos.world import KeptAgent, World

_KEPT: Final = ("redis", "ballast")
"""Below the state directory: Redis's own files, and those of the nemesis."""


@dataclass(frozen=True)
class Footprint:
    """Of one agent or of the control plane, at one moment."""

    name: str
    memory_mb: float
    """Proportional share (PSS) of all its processes: memory that workers share counts once. Millions of bytes."""
    processes: int
    open_files: int
    """Of its programs together, workers left out: how many of those there are changes with the load."""
    files: int
    """On its disk."""


@dataclass(frozen=True)
class Growth:
    """What may be added between two looks."""

    memory_mb: float
    open_files: int
    files: int


OVER_FAULTS: Final = Growth(memory_mb=24.0, open_files=16, files=12)
"""Reconnections and retries load what was not needed before, and every agent has had another life; a leak per fault
or per job is more.
"""
CONTROL_PLANE_OVER_FAULTS: Final = Growth(memory_mb=72.0, open_files=40, files=20)
"""Before the faults it has answered one caller at a time: up to 40 threads and 24 connections, each with
a page cache of 2 MB, come with the first rush, and stay.
"""
WHILE_QUIET: Final = Growth(memory_mb=12.0, open_files=8, files=6)
"""The same work, done again: what is left is the noise of an allocator and a worker more or less."""


CONTROL_PLANE: Final = "control plane"


def of_all(world: World) -> list[Footprint]:
    """Every agent and the control plane, now."""
    found = [of_agent(kept) for kept in world.agents]
    plane = world.control_plane.process
    if plane is not None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(plane.pid)
            family = [process, *process.children(recursive=True)]
            folder = world.control_plane.folder / "cp"
            files = sum(1 for item in folder.rglob("*") if item.is_file())
            found.append(Footprint(CONTROL_PLANE, _memory(family), len(family), _open(family), files))
    return found


def of_agent(kept: KeptAgent) -> Footprint:
    """One agent, now."""
    family = kept.family()
    folder = kept.agent.state_dir
    files = sum(1 for item in folder.rglob("*") if item.is_file() and item.relative_to(folder).parts[0] not in _KEPT)
    return Footprint(kept.name, _memory(family), len(family), _open(kept.programs().values()), files)


def grown_over_faults(before: Iterable[Footprint], after: Iterable[Footprint]) -> Iterator[str]:
    """As `grown`, with what each side may need more of once it has had to do with faults."""
    earlier = list(before)
    for now in after:
        allowed = CONTROL_PLANE_OVER_FAULTS if now.name == CONTROL_PLANE else OVER_FAULTS
        yield from grown(earlier, [now], allowed, "over the faults")


def grown(before: Iterable[Footprint], after: Iterable[Footprint], allowed: Growth, when: str) -> Iterator[str]:
    """A sentence for everything that has grown by more than is allowed."""
    earlier = {footprint.name: footprint for footprint in before}
    for now in after:
        was = earlier.get(now.name)
        if was is None:
            continue
        if now.memory_mb > was.memory_mb + allowed.memory_mb:
            yield f"memory of {now.name} grew {when}: from {was.memory_mb} MB to {now.memory_mb} MB"
        if now.open_files > was.open_files + allowed.open_files:
            yield f"open files of {now.name} grew {when}: from {was.open_files} to {now.open_files}"
        if now.files > was.files + allowed.files:
            yield f"files of {now.name} grew {when}: from {was.files} to {now.files}"


def _memory(processes: Iterable[psutil.Process]) -> float:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.memory_full_info().pss
    return round(total / 1e6, 1)


def _open(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            total += process.num_fds()
    return total
