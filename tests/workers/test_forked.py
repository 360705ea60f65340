from __future__ import annotations

import pytest

from workers.forked import DEADLINE_GRACE_S, Forked
from workers.lifeline import Lifeline


@pytest.fixture
def worker():
    mine, theirs = Lifeline.pair()
    yield Forked(pid=1, slot=1, name="a.1.1", lifeline=mine, forked_at=0.0, born=0.0)
    mine.close()
    theirs.close()


def test_idle_is_waiting_and_going_on_to_wait(worker):
    assert worker.idle
    worker.key = "key"
    assert not worker.idle
    worker.key, worker.stopping = None, True
    assert not worker.idle


def test_a_cancellation_comes_before_the_deadline(worker):
    assert worker.kill_at is None
    worker.deadline = 100.0
    assert worker.kill_at == 100.0 + DEADLINE_GRACE_S
    worker.cancel_until = 50.0
    assert worker.kill_at == 50.0
