"""A slow way to the control plane: heartbeats go on, and are answered, while results wait or are under way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.faults import Silent
from tests.support.gateway import Gateway
from tests.support.slow_link import SlowLink
from tests.support.stack import FINAL, Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

BEATS = 5


@pytest.fixture
def folder():
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as place:
        yield Path(place)


@pytest.fixture
def plane(folder):
    made = ControlPlane(folder)
    yield made
    made.stop()
    made.api.close()


@pytest.fixture
def start(plane, folder):
    """An agent of that control plane that beats once a second, by another way."""
    agents: list[Agent] = []

    def started(url: str) -> Agent:
        place = folder / "one"
        place.mkdir()
        agent = Agent(place, url, plane.create_agent("one")["apiKey"], HEARTBEAT_INTERVAL="1").start()
        agents.append(agent)
        eventually(beats(agent), within=60, what="the first heartbeat")
        return agent

    yield started
    for agent in agents:
        agent.stop()


def beats(agent: Agent) -> Callable[[], int]:
    """How many different times of an answered heartbeat have been seen: the health file is touched by those only."""
    seen: set[int] = set()
    file: Path = agent.state_dir / ".agent_heartbeat"

    def count() -> int:
        if file.exists():
            seen.add(file.stat().st_mtime_ns)
        return len(seen)

    return count


def is_open(plane: ControlPlane, job_id: str) -> bool:
    return plane.job(job_id)["status"] not in FINAL


@pytest.fixture
def gateway(plane):
    made = Gateway(plane.port)
    yield made
    made.well()
    made.close()


def test_heartbeats_are_answered_while_a_result_is_not(plane, start, gateway):
    agent = start(gateway.url)
    gateway.always(Silent(), "results")
    job_id = plane.submit("script.bash", {"script": "echo done"})
    eventually(lambda: "results" in gateway.unanswered, within=60, what="the result is on its way")
    count = beats(agent)
    eventually(lambda: count() >= BEATS, within=60, what="heartbeats are answered meanwhile")
    assert is_open(plane, job_id)
    gateway.well()
    assert plane.wait(job_id, 120)["result"]["output"]["stdout"] == "done\n"


def test_heartbeats_are_answered_while_a_result_crawls_over_a_link_of_four_kilobytes_a_second(plane, start):
    link = SlowLink(plane.port, 4_000)
    try:
        agent = start(link.url)
        # 60 kB that do not compress: fifteen seconds of the whole link
        job_id = plane.submit("script.bash", {"script": "head -c 45000 /dev/urandom | base64 -w 0; echo; echo done"})
        count = beats(agent)
        eventually(lambda: (count(), not is_open(plane, job_id))[1], within=200, what="the result has come")
        job = plane.job(job_id)
        assert job["result"]["output"]["stdout"].endswith("done\n")
        assert len(job["result"]["output"]["stdout"]) > 60_000
        assert count() >= BEATS
    finally:
        link.close()
