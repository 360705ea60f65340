"""Everything dies in turn while jobs run: nothing is lost, nothing runs twice, no success without its effect."""

from __future__ import annotations

import contextlib
import itertools
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

JOBS = 60


def reconcile(chain) -> list[State]:
    """What the poller does every 2 s: put back what is queued and missing in Redis. Returns all states."""
    with chain.home.journal() as journal, contextlib.suppress(QueueError), chain.home.redis.client() as client:
        queue = agent_queue(client)
        there = queued_keys(queue)
        enqueue(queue, [(row.key, row.description, 60) for row in journal.queued() if row.key not in there])
    with chain.home.journal() as journal:
        return [row.state for row in journal.latest(JOBS)]


def kill_a_child(chain, number: int) -> None:
    """One of the pool's processes, workers and bookkeeper alike."""
    with contextlib.suppress(OSError, ZeroDivisionError):
        children = (chain.proc / "children").read_text().split()
        os.kill(int(children[number % len(children)]), signal.SIGKILL)


def test_kill_everything_in_turn(make_chain):
    chain = make_chain(max_concurrent_jobs=4)
    log = chain.home.folder / "log"
    keys = [chain.take("script.bash", {"script": f"echo job_{n} >> {log}; sleep 0.02"}) for n in range(1, JOBS + 1)]
    states = reconcile(chain)
    for step in itertools.count(1):
        ended = sum(state not in OPEN for state in states)
        if ended == JOBS or step > 5000:
            break
        if step % 3 == 0 and step < 60:
            kill_a_child(chain, step)
        if step == 20:
            chain.home.redis.kill()
            chain.home.redis.start()
        if step == 40:
            chain.pool.kill()
            chain.start()
        states = reconcile(chain)
    eventually(lambda: all(state not in OPEN for state in reconcile(chain)), within=20, what="every job ended")
    runs = Counter(log.read_text().split())
    assert not [key for key, times in runs.items() if times > 1], "a job ran twice"
    for key in keys:
        row = chain.row(key)
        if row.result["status"] == "success":
            assert runs[key] == 1
        else:
            assert row.state is State.IN_DOUBT, row
    assert sum(chain.row(key).result["status"] == "success" for key in keys) > JOBS // 2
