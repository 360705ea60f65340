"""The memory of a whole agent, Redis included: pages that its processes share are counted once (PSS)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.memory import Process, family
from cli.supervisor_rpc import process_table
from tests.support.require import missing
from tests.support.stack import Stack, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(300)]

MIB = 1024
AT_REST = 8
"""supervisord, Redis, four programs, the bookkeeper, one worker that waits."""
IDLE_MIB = 135
"""Measured: 121 to 125, the libraries on disk included, of which it is charged less where others use them too."""
BUSY_WORKER_MIB = 11
"""Measured: 8."""
SLOTS = 50
QUESTIONS = 600
"""To supervisord's socket. Each left 5 kB, as long as nothing collected them: 3 MiB."""
ASKED_MIB = 1


@pytest.fixture(scope="module")
def stack():
    if os.geteuid() != 0:
        missing("only root may look into the agent's processes")
    with running_stack(MAX_CONCURRENT_JOBS=str(SLOTS)) as running:
        yield running


def processes(stack: Stack) -> list[Process]:
    assert stack.agent.process is not None
    return family(stack.agent.process.pid)


def pss_mib(found: list[Process]) -> float:
    return sum(process.pss for process in found) / MIB


def table(found: list[Process]) -> str:
    return "\n".join(f"{process.name:<14}{process.pss / MIB:7.1f}" for process in found)


def settled(stack: Stack) -> list[Process]:
    """Everything of the agent, once a job has gone through all of it and nothing more is loaded."""
    seen: list[float] = []

    def steady() -> list[Process] | None:
        found = processes(stack)
        seen.append(pss_mib(found))
        return found if len(seen) > 10 and max(seen[-10:]) - min(seen[-10:]) < 1 else None

    return list(eventually(steady, within=60, what="memory that no longer changes"))


def test_an_idle_agent_stays_small_whatever_its_slots(stack: Stack):
    stack.control_plane.wait(stack.control_plane.submit("script.bash", {"script": "true"}))
    eventually(
        lambda: len(processes(stack)) == AT_REST, within=60, what="one idle worker left of those the job has made"
    )
    found = settled(stack)
    assert {"supervisord", "redis", "admin", "heartbeat", "poller", "workers"} <= {process.name for process in found}
    assert pss_mib(found) < IDLE_MIB, table(found)


def test_a_busy_worker_costs_little_more(stack: Stack, tmp_path: Path):
    before = pss_mib(settled(stack))
    gate = tmp_path / "gate"
    started = [tmp_path / f"started-{number}" for number in range(10)]
    script = "touch '{mark}'; until [ -e '{gate}' ]; do sleep 0.2; done"
    jobs = [
        stack.control_plane.submit("script.bash", {"script": script.format(mark=mark, gate=gate)}) for mark in started
    ]
    try:
        eventually(lambda: all(mark.exists() for mark in started), within=60, what="ten jobs running")
        found = settled(stack)
    finally:
        gate.touch()
    for job in jobs:
        assert stack.control_plane.wait(job)["status"] == "success"
    assert pss_mib(found) - before < len(jobs) * BUSY_WORKER_MIB, table(found)


def test_supervisord_does_not_grow_by_being_asked(stack: Stack):
    def private_mib() -> float:
        (supervisord,) = (process for process in processes(stack) if process.name == "supervisord")
        return supervisord.private / MIB

    socket = stack.agent.state_dir / "run" / "supervisor.sock"
    eventually(lambda: process_table(socket), within=60, what="supervisord that answers")
    for _ in range(QUESTIONS // 3):  # what it imports and touches to answer is no growth
        assert process_table(socket)
    before = private_mib()
    for _ in range(QUESTIONS):
        assert process_table(socket)
    assert private_mib() - before < ASKED_MIB
