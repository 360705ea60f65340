"""A Redis of somebody else's (REDIS_URL) that stops taking writes, answers nothing, or is emptied under the agent.

What it holds is a doorbell: a job that runs keeps its result, a job that waits runs once when Redis works again, and
meanwhile the agent says what is wrong. The embedded server's own accidents are in test_crash_points.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.stack import Stack
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

BACK_WITHIN_S = 30.0
"""The reconciler looks every 2 s, workers listen again within 2 s of Redis's return; the rest is a slow machine."""


@dataclass
class Site:
    """The product with an agent on a Redis of the test's."""

    stack: Stack
    redis: RedisServer
    folder: Path

    def config(self, name: str, value: Any) -> None:
        with self.redis.client() as client:
            client.config_set(name, value)

    def effects(self, name: str) -> int:
        file = self.folder / name
        return len(file.read_text().split()) if file.exists() else 0

    def submit(self, name: str, script: str = "") -> str:
        return self.stack.control_plane.submit("script.bash", {"script": f"echo x >> {self.folder / name}\n{script}"})

    def told(self) -> dict[str, Any]:
        """The agent as the control plane shows it."""
        return self.stack.control_plane.agent(self.stack.agent_id)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as name:
        folder = Path(name)
        redis = RedisServer(folder / "redis.sock", folder=folder)
        try:
            stack = Stack(folder, REDIS_URL=redis.url, HEARTBEAT_INTERVAL="1")
            try:
                yield Site(stack, redis, folder)
            finally:
                stack.stop()
        finally:
            redis.kill()


@contextlib.contextmanager
def full(site: Site) -> Iterator[None]:
    """Every write is answered with OOM."""
    site.config("maxmemory-policy", "noeviction")
    site.config("maxmemory", "1")
    yield
    site.config("maxmemory", "0")


@contextlib.contextmanager
def read_only(site: Site) -> Iterator[None]:
    """It has become the replica of a server that is not there: every write is answered with READONLY."""
    with site.redis.client() as client:
        client.replicaof("127.0.0.1", free_port())
    yield
    with site.redis.client() as client:
        client.replicaof("NO", "ONE")


@contextlib.contextmanager
def refusing(site: Site) -> Iterator[None]:
    """As with a disk it cannot write to: writes are refused, reads answered."""
    site.config("min-replicas-to-write", "1")
    yield
    site.config("min-replicas-to-write", "0")


@contextlib.contextmanager
def frozen(site: Site) -> Iterator[None]:
    """It accepts connections and answers none."""
    os.kill(site.redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(site.redis.pid, signal.SIGCONT)


@contextlib.contextmanager
def gone(site: Site) -> Iterator[None]:
    """Killed; nothing of it was on a disk."""
    site.redis.kill()
    yield
    site.redis.start()


@pytest.mark.parametrize("fault", [full, read_only, refusing, frozen, gone])
def test_a_redis_that_does_not_work_costs_no_job(site: Site, fault: Any) -> None:
    plane = site.stack.control_plane
    name = fault.__name__
    go = site.folder / f"go-{name}"
    running = site.submit(f"running-{name}", f"while [ ! -e {go} ]; do sleep 0.05; done; echo kept")
    eventually(lambda: site.effects(f"running-{name}"), within=60, what="the first job's effect")
    with fault(site):
        waiting = site.submit(f"waiting-{name}")
        eventually(lambda: "Redis" in str(site.told()), within=60, what="the agent says that Redis does not work")
        go.touch()
        job = plane.wait(running, timeout=60)
        assert (job["status"], job["result"]["output"]["stdout"]) == ("success", "kept\n"), "the journal has it"
    back_at = time.monotonic()
    job = plane.wait(waiting, timeout=60)
    assert time.monotonic() - back_at < BACK_WITHIN_S
    assert (job["status"], job["attempt"]) == ("success", 1)
    assert (site.effects(f"running-{name}"), site.effects(f"waiting-{name}")) == (1, 1)
    eventually(lambda: "Redis" not in str(site.told()), within=60, what="the agent says that all is well again")
