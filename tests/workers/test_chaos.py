"""Everything dies in turn while jobs run: nothing is lost, nothing runs twice, no success without its effect."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter

import pytest

from easyalert.errors import QueueError
from easyalert.journal import State
from easyalert.queues import agent_queue, enqueue, queued_keys
from tests.support.waiting import eventually
from tests.workers.chain import OPEN

pytestmark = pytest.mark.system

JOBS = 90


def reconcile(chain) -> list[State]:
    """What the poller does every 2 s: put back what is queued and missing in Redis. Returns all states."""
    with chain.home.journal() as journal, contextlib.suppress(QueueError), chain.home.redis.client() as client:
        queue = agent_queue(client)
        there = queued_keys(queue)
        enqueue(queue, [(row.key, row.description, 60) for row in journal.queued() if row.key not in there])
    with chain.home.journal() as journal:
        return [row.state for row in journal.latest(JOBS)]


def ended(chain) -> int:
    return sum(state not in OPEN for state in reconcile(chain))


def kill_a_child(chain, number: int) -> None:
    """One of the pool's processes, workers and bookkeeper alike."""
    with contextlib.suppress(OSError, ZeroDivisionError):
        children = (chain.proc / "children").read_text().split()
        os.kill(int(children[number % len(children)]), signal.SIGKILL)


def test_kill_everything_in_turn(make_chain):
    chain = make_chain(max_concurrent_jobs=4)
    log = chain.home.folder / "log"
    keys = [chain.take("script.bash", {"script": f"echo job_{n} >> {log}; sleep 0.02"}) for n in range(1, JOBS + 1)]
    faults = [lambda n=n: kill_a_child(chain, n) for n in range(16)]
    faults.insert(5, lambda: (chain.home.redis.kill(), chain.home.redis.start()))
    faults.insert(10, lambda: (chain.pool.kill(), chain.start()))
    for fault in faults:
        # each fault once some more jobs have ended, so that all of them hit a pool at work
        goal = ended(chain) + 2
        eventually(lambda goal=goal: ended(chain) >= goal, within=20, what=f"{goal} jobs ended")
        fault()
    eventually(lambda: ended(chain) == JOBS, within=20, what="every job ended")
    assert chain.pool.log.count("died (SIGKILL)") >= 6, "the faults have hit"
    runs = Counter(log.read_text().split())
    assert not [key for key, times in runs.items() if times > 1], "a job ran twice"
    for key in keys:
        row = chain.row(key)
        if row.result["status"] == "success":
            assert runs[key] == 1
        else:
            assert row.state is State.IN_DOUBT, row
    assert sum(chain.row(key).result["status"] == "success" for key in keys) > JOBS // 2
