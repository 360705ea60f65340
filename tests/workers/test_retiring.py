"""Workers that a burst has left idle: half of those too many go at a time, the ones last in line."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from workers import pool as module
from workers.forked import Forked
from workers.lifeline import Lifeline
from workers.pool import IDLE_RETIRE_S, Pool


class Crowd:
    """A pool with idle workers that are no processes, at a time that the test says."""

    def __init__(self, idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.pool = Pool(SimpleNamespace(settings=SimpleNamespace(max_concurrent_jobs=idle)), os.getppid())
        self.ends = {}
        for number in range(1, idle + 1):
            mine, self.ends[number] = Lifeline.pair()
            worker = Forked(
                number, number, f"w{number}", mine, self.now, time.time(), idle_since=self.now + number / 100
            )
            self.pool._workers[number] = worker

    def told(self) -> list[int]:
        """Who has been told to stop by now; they end at once."""
        self.pool._retire()
        gone = [number for number, worker in self.pool._workers.items() if worker.stopping]
        for number in gone:
            assert [message["word"] for message in self.ends[number].hear()] == ["stop"]
            self.pool._workers.pop(number).lifeline.close()
        return gone


@pytest.fixture
def make_crowd(monkeypatch):
    crowds = []

    def make(idle: int) -> Crowd:
        crowds.append(Crowd(idle, monkeypatch))
        return crowds[-1]

    yield make
    for crowd in crowds:
        for end in crowd.ends.values():
            end.close()
        for end in (crowd.pool._signals, crowd.pool._signal_end, crowd.pool._watch):
            end.close()
        for worker in crowd.pool._workers.values():
            worker.lifeline.close()


def test_nobody_goes_before_the_time_is_over(make_crowd):
    crowd = make_crowd(50)
    assert crowd.told() == []
    crowd.now += IDLE_RETIRE_S - 1
    assert crowd.told() == []


def test_fifty_are_one_soon_after_the_first_half_has_gone(make_crowd):
    crowd = make_crowd(50)
    crowd.told()
    left = []
    for second in range(1, 100):
        crowd.now += 1
        if crowd.told():
            left.append((second, len(crowd.pool._workers)))
    assert [number for _, number in left] == [25, 13, 7, 4, 2, 1]
    assert left[0][0] == IDLE_RETIRE_S
    assert left[-1][0] <= 1.6 * IDLE_RETIRE_S


def test_those_go_that_have_waited_least(make_crowd):
    crowd = make_crowd(5)
    crowd.told()
    crowd.now += IDLE_RETIRE_S
    assert crowd.told() == [4, 5]


def test_a_new_job_meanwhile_counts(make_crowd):
    """Who works is not idle, and a pool that is no longer crowded begins its time anew."""
    crowd = make_crowd(2)
    crowd.told()
    crowd.now += IDLE_RETIRE_S / 2
    crowd.pool._workers[1].key = "1"
    assert crowd.told() == []
    crowd.pool._workers[1].key = None
    crowd.told()
    crowd.now += IDLE_RETIRE_S - 1
    assert crowd.told() == []
