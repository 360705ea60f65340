"""A script prints a gigabyte: the agent's memory does not grow, both ends are kept, the size is exact."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.support.stack import Agent, running_stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

log = logging.getLogger(__name__)

SIZE = 1_000_000_000
GROWTH_MAX_MB = 16.0
"""Head and tail of a stream (1.5 MB) and their copies: bytes, text, redacted, JSON, in the worker, then in the poller."""
FORMS = {
    "one line": "head -c 1000000000 /dev/zero | tr '\\0' x",
    "short lines": "yes 0123456789abcdef | head -c 1000000000",
}


def family_pss_mb(agent: Agent) -> float:
    """Of every program of the agent, jobs' processes left out."""
    assert agent.process is not None
    supervisor = psutil.Process(agent.process.pid)
    total = 0
    for process in [supervisor, *supervisor.children(recursive=True)]:
        with contextlib.suppress(OSError, psutil.Error):
            if b"EASYALERT_JOB=" in Path(f"/proc/{process.pid}/environ").read_bytes():
                continue
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


@pytest.fixture(scope="module")
def stack():
    with running_stack(MAX_CONCURRENT_JOBS="2") as running:
        plane = running.control_plane
        eventually(lambda: plane.agent(running.agent_id)["status"] == "online", within=30)
        # what is loaded at the first job, and at the first one with live output, is no growth
        plane.wait(plane.submit("script.bash", {"script": "head -c 8000000 /dev/zero | tr '\\0' y; sleep 1"}))
        yield running


@pytest.mark.parametrize("form", FORMS)
def test_memory_does_not_grow_and_the_size_is_exact(stack, form):
    plane = stack.control_plane
    idle = family_pss_mb(stack.agent)
    peaks = [idle]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.2):
            peaks.append(family_pss_mb(stack.agent))

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.monotonic()
    try:
        job = plane.wait(plane.submit("script.bash", {"script": FORMS[form], "timeout": 200}), timeout=220)
    finally:
        over.set()
        watching.join()
    took = time.monotonic() - began
    figures = {"idle_mb": round(idle, 1), "peak_mb": round(max(peaks), 1), "mb_per_s": round(SIZE / 1e6 / took, 1)}
    log.info("%s: %s", form, figures)
    assert job["status"] == "success", job["result"]["error"]
    output = job["result"]["output"]
    assert output["truncated"]
    assert output["originalStdoutSize"] == SIZE
    assert "left out" in output["stdout"]
    assert 900_000 < len(output["stdout"]) < 1_100_000
    assert max(peaks) - idle < GROWTH_MAX_MB, figures
