"""A library that blocks: it gets judged sockets, and none of it outlives its job."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from easyalert.errors import AddressRefused, TargetError
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.workers.sdk.test_context import context
from workers.sdk.blocking import Blocking, Ended


@pytest.fixture
def silent():
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def blocked(port, work, *, ctx=None, limit_s=20.0, host="127.0.0.1", tick=lambda: None, **how):
    async def main():
        job = Blocking(ctx or context(), host, port, limit_s, name="blocked", **how)
        return await job.run(lambda: work(job), tick)

    return asyncio.run(main())


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "blocked"]


def hang(job):
    with job.connected() as made:
        made.settimeout(None)
        if made.recv(1) == b"":
            job.check()


def test_the_result_and_the_error_of_the_work_come_out(silent):
    assert blocked(silent, lambda _: 5) == 5
    with pytest.raises(ZeroDivisionError):
        blocked(silent, lambda _: 1 // 0)


def test_what_hangs_is_cut_and_its_thread_ends(silent):
    with pytest.raises(Ended) as ended:
        blocked(silent, hang, limit_s=0.3)
    assert ended.value.why == "timed_out"
    eventually(lambda: not threads(), what="the end of the thread")


def test_a_cancel_cuts_it_unless_that_is_why_it_runs(silent):
    ctx = context()
    ctx.cancelled = lambda: True
    with pytest.raises(Ended) as ended:
        blocked(silent, hang, ctx=ctx)
    assert ended.value.why == "cancelled"
    with pytest.raises(Ended) as ended:
        blocked(silent, hang, ctx=ctx, limit_s=0.3, while_cancelled=True)
    assert ended.value.why == "timed_out"


def test_nothing_is_dialled_when_it_is_over(silent):
    seen = []

    def work(job):
        try:
            hang(job)
        except Ended as first:
            seen.append(first.why)
            for attempt in (job.connected, job.check, lambda: job.pause(60)):
                try:
                    attempt()
                except Ended as again:
                    seen.append(again.why)
        raise Ended("timed_out")

    with pytest.raises(Ended):
        blocked(silent, work, limit_s=0.3)
    assert seen == ["timed_out"] * 4


def test_a_pause_ends_with_the_job(silent):
    began = time.monotonic()
    with pytest.raises(Ended):
        blocked(silent, lambda job: job.pause(60), limit_s=0.3)
    assert time.monotonic() - began < 30  # of the 60 that the work wanted
    eventually(lambda: not threads(), what="the end of the thread")


def test_addresses_are_judged_and_failures_said(silent):
    with pytest.raises(AddressRefused):
        blocked(80, lambda job: job.connected(), host="169.254.169.254")
    with pytest.raises(TargetError, match="Connection refused"):
        blocked(free_port(), lambda job: job.connected())


def test_ticks_come_while_it_waits(silent):
    ticks = []
    enough = threading.Event()

    def tick():
        ticks.append(1)
        if len(ticks) >= 3:
            enough.set()

    assert blocked(silent, lambda _: enough.wait(20), tick=tick)


def test_work_that_does_not_wake_is_left_to_its_daemon_thread(silent):
    """And its late error is nobody's."""
    go = threading.Event()

    def work(_):
        go.wait(60)
        raise OSError

    with pytest.raises(Ended):
        blocked(silent, work, limit_s=0.1)
    go.set()
    eventually(lambda: not threads(), what="the end of the thread")
