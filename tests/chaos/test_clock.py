"""Clocks that can be moved: a Python program under the preloaded library, looked at through its answers."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.clock import ClockControl
from tests.support.require import require_program
from tests.support.waiting import eventually

_CHILD = """
import asyncio, json, select, signal, sys, threading, time

def sleep(seconds): time.sleep(seconds)
def poll(seconds): select.poll().poll(seconds * 1000)
def select_(seconds): select.select([], [], [], seconds)
def epoll(seconds): select.epoll().poll(seconds)
def event(seconds): threading.Event().wait(seconds)
def loop(seconds): asyncio.run(asyncio.sleep(seconds))
def uvloop(seconds):
    import uvloop
    uvloop.run(asyncio.sleep(seconds))

CLOCKS = ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME", "CLOCK_REALTIME")
def read():
    return {"time": time.time(), "perf": time.perf_counter(), "cpu": time.process_time(),
            **{name: time.clock_gettime(getattr(time, name)) for name in CLOCKS}}

waits = False
def interrupt(*_):
    global waits
    if waits:
        waits = False
        raise InterruptedError("signal")

signal.signal(signal.SIGUSR1, interrupt)
for line in sys.stdin:
    words = line.split()
    before = time.monotonic()
    answer = {}
    if words[0] == "read":
        answer = read()
    elif words[0] == "never_back":
        last = time.monotonic()
        end = last + float(words[1])
        print("{}", flush=True)
        backwards = 0
        while last < end:
            now = time.monotonic()
            backwards += now < last
            last = now
        answer = {"backwards": backwards}
    else:
        print("{}", flush=True)
        try:
            waits = True
            globals()[words[0]](float(words[1]))
            waits = False
        except InterruptedError:
            answer = {"interrupted": True}
    print(json.dumps({**answer, "took": time.monotonic() - before}), flush=True)
"""

WAITS = ("sleep", "poll", "select_", "epoll", "event", "loop", "uvloop")
SLACK_S = 5.0
"""How much later than asked a wait may end on a busy machine; what is told apart differs by much more."""


class Child:
    def __init__(self, clocks: ClockControl) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD], env={**os.environ, **clocks.environment()}, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def say(self, *words: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def read(self) -> dict[str, Any]:
        self.say("read")
        return self.hear()

    def begin(self, wait: str, seconds: float) -> float:
        """Returns the real moment at which the wait is about to begin."""
        self.say(wait, seconds)
        self.hear()
        return time.monotonic()

    def in_its_wait(self) -> None:
        """Returns when the wait is some slices old: each ends in a switch to another process."""
        process = psutil.Process(self.process.pid)
        began = process.num_ctx_switches().voluntary
        eventually(lambda: process.num_ctx_switches().voluntary > began + 5, what="the child waits")


@pytest.fixture
def clocks(tmp_path: Path) -> ClockControl:
    require_program("cc", package="gcc libc6-dev")
    return ClockControl(tmp_path)


@pytest.fixture
def child(clocks: ClockControl) -> Iterator[Child]:
    child = Child(clocks)
    yield child
    child.process.communicate(timeout=30)


def test_untouched_clocks_are_the_machines(child: Child):
    seen = child.read()
    assert abs(seen["time"] - time.time()) < SLACK_S
    for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME"):
        assert abs(seen[name] - time.clock_gettime(getattr(time, name))) < SLACK_S


def test_only_wall_time_notices_a_step_only_monotonic_misses_a_pause_and_all_notice_a_jump(
    child: Child, clocks: ClockControl
):
    def moved(by: dict[str, float]) -> None:
        nonlocal before
        after = child.read()
        for name, seconds in by.items():
            assert abs(after[name] - before[name] - seconds) < SLACK_S, name
        assert after["cpu"] - before["cpu"] < SLACK_S
        before = after

    before = child.read()
    clocks.step_wall(3600)
    moved({"time": 3600, "CLOCK_REALTIME": 3600, "CLOCK_MONOTONIC": 0, "CLOCK_BOOTTIME": 0, "perf": 0})
    clocks.step_wall(-7200)
    moved({"time": -7200, "CLOCK_REALTIME": -7200, "CLOCK_MONOTONIC": 0, "CLOCK_BOOTTIME": 0, "perf": 0})
    clocks.pause(600)
    moved({"time": 600, "CLOCK_REALTIME": 600, "CLOCK_MONOTONIC": 0, "CLOCK_BOOTTIME": 600, "perf": 0})
    clocks.jump(86400)
    moved(dict.fromkeys(("time", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME", "perf"), 86400))
    assert abs(child.read()["time"] - clocks.wall()) < SLACK_S


def test_a_rate_is_felt_by_all_clocks_but_those_of_the_processor(child: Child, clocks: ClockControl):
    began = time.monotonic()
    before = child.read()
    clocks.rate(100)
    child.begin("sleep", 50)
    child.hear()
    clocks.rate(1)
    after, real = child.read(), time.monotonic() - began
    for name in ("time", "CLOCK_MONOTONIC", "CLOCK_BOOTTIME"):
        assert 50 <= after[name] - before[name] <= 100 * real
    assert after["cpu"] - before["cpu"] <= real
    assert abs(after["time"] - clocks.wall()) < SLACK_S
    later = child.read()
    assert later["CLOCK_MONOTONIC"] - after["CLOCK_MONOTONIC"] < SLACK_S, "the rate is 1 again"


@pytest.mark.parametrize("wait", WAITS)
def test_a_wait_is_as_long_as_asked_at_rate_1_and_a_hundredth_at_100(child: Child, clocks: ClockControl, wait: str):
    child.begin("sleep", 0)
    child.hear()
    child.begin(wait, 0.01)  # imports are made
    child.hear()
    began = child.begin(wait, 0.3)
    child.hear()
    assert 0.28 <= time.monotonic() - began <= 0.3 + SLACK_S
    clocks.rate(100)
    began = child.begin(wait, 30)
    took = child.hear()["took"]
    assert 0.28 <= time.monotonic() - began <= 0.3 + SLACK_S
    assert 29.5 <= took <= 30 + 100 * SLACK_S


@pytest.mark.parametrize("wait", WAITS)
def test_a_jump_ends_a_wait_and_a_step_of_the_wall_clock_does_not(child: Child, clocks: ClockControl, wait: str):
    began = child.begin(wait, 3600)
    child.in_its_wait()
    clocks.step_wall(7200)
    clocks.step_wall(-3 * 7200)
    clocks.jump(3599)
    child.hear()
    assert 0.9 <= time.monotonic() - began <= 1 + 2 * SLACK_S, "a second of it was left"


@pytest.mark.parametrize("wait", ["sleep", "poll", "select_", "epoll", "event"])
def test_a_signal_ends_a_wait_at_once(child: Child, wait: str):
    child.begin(wait, 60)
    child.in_its_wait()

    def answered() -> bool:
        # again and again: a wait for a semaphore misses a signal that comes between two of its slices
        child.process.send_signal(signal.SIGUSR1)
        return bool(select.select([child.process.stdout], [], [], 0.5)[0])

    eventually(answered, what="the wait's end")
    assert child.hear().get("interrupted")


def test_monotonic_time_never_goes_back_whatever_is_done_to_the_rate(child: Child, clocks: ClockControl):
    child.begin("never_back", 300)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        clocks.rate(240)
        clocks.rate(1)
        clocks.rate(100)
    assert child.hear()["backwards"] == 0


def test_two_processes_agree_and_a_forked_one_inherits(clocks: ClockControl):
    clocks.step_wall(3600)
    command = [
        sys.executable,
        "-c",
        "import os, time; p = os.fork(); os.write(1, b'%f ' % time.time()); p and os.wait()",
    ]
    told = subprocess.run(
        command, env={**os.environ, **clocks.environment()}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert [abs(float(word) - time.time() - 3600) < 10 * SLACK_S for word in told] == [True, True]


def test_the_programs_time_since_boot_is_known_outside(child: Child, clocks: ClockControl):
    clocks.pause(600)
    clocks.rate(100)
    clocks.rate(1)
    before, read, after = clocks.boot_ms(), child.read(), clocks.boot_ms()
    assert before <= read["CLOCK_BOOTTIME"] * 1000 <= after + 1


def test_only_the_wall_clock_can_be_set_back(clocks: ClockControl):
    with pytest.raises(ValueError, match="wall clock"):
        clocks.jump(-1)
