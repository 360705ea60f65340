import asyncio
import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert import runtime
from easyalert.errors import ConfigurationError
from easyalert.runtime import Backoff, ProcessIdentity, Stop, boot_id, monotonic_ms, start_ticks, this_process
from tests.support.waiting import eventually


def in_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


# ---- identity -------------------------------------------------------------------------------------------------------


def test_this_process_is_alive():
    me = this_process()
    assert me.pid == os.getpid()
    assert me.alive()


def test_a_reused_pid_is_another_process():
    me = this_process()
    assert not ProcessIdentity(me.boot_id, me.pid, me.start_ticks + 1).alive()


def test_a_process_of_an_earlier_boot_is_gone():
    me = this_process()
    assert not ProcessIdentity("11111111-2222-3333-4444-555555555555", me.pid, me.start_ticks).alive()


def test_a_zombie_is_not_alive_and_neither_is_what_was_reaped():
    child = subprocess.Popen(["sleep", "60"])
    identity = ProcessIdentity(boot_id(), child.pid, start_ticks(child.pid))
    assert identity.alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, not reaped
    assert not identity.alive()
    child.wait()
    assert not identity.alive()
    assert start_ticks(child.pid) is None


def test_a_fork_is_somebody_else():
    code = (
        "import os; from easyalert.runtime import this_process\n"
        "parent = this_process()\n"
        "if os.fork() == 0:\n"
        "    assert this_process() != parent and this_process().pid == os.getpid(); os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert in_python(code).stdout == "7\n"


def test_names_with_spaces_and_parentheses_are_understood(tmp_path):
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(program), "60"])
    try:
        eventually(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "a) R 1 (b\n", what="the exec")
        before, ticks = this_process().start_ticks, start_ticks(child.pid)
        assert before <= ticks <= before + 100 * os.sysconf("SC_CLK_TCK") * 3600
    finally:
        child.kill()
        child.wait()


def test_monotonic_time_goes_forward_and_is_shared_by_processes():
    before = monotonic_ms()
    other = int(in_python("from easyalert.runtime import monotonic_ms; print(monotonic_ms())").stdout)
    assert before <= other <= monotonic_ms()


# ---- packages -------------------------------------------------------------------------------------------------------


def test_a_foreign_owner_of_a_package_is_named(monkeypatch):
    monkeypatch.setattr(
        importlib.metadata, "packages_distributions", lambda: {"vault": ["easyalert-agents", "hashi-vault"]}
    )
    with pytest.raises(ConfigurationError, match="'vault' is also installed by hashi-vault"):
        runtime.refuse_foreign_packages()


def test_our_own_environment_is_accepted():
    assert "easyalert" in importlib.metadata.packages_distributions()
    runtime.refuse_foreign_packages()


# ---- stop -----------------------------------------------------------------------------------------------------------


def test_stop_ends_a_wait_at_once():
    async def scenario():
        stop = Stop()
        asyncio.get_running_loop().call_later(0.01, stop.set, "SIGTERM")
        begun = time.monotonic()
        assert await stop.wait(30) is True
        assert time.monotonic() - begun < 20
        stop.set("later")
        assert stop.reason == "SIGTERM", "the first reason is kept"
        assert await stop.wait() is True, "and stays set"

    asyncio.run(scenario())


def test_a_wait_ends_with_its_time_or_another_event():
    async def scenario():
        stop, work = Stop(), asyncio.Event()
        assert await stop.wait(0.01) is False
        work.set()
        assert await stop.wait(30, work) is False
        assert work.is_set(), "cleared by the caller"
        work.clear()
        asyncio.get_running_loop().call_later(0.01, work.set)
        assert await stop.wait(30, work) is False
        assert len(asyncio.all_tasks()) == 1, "no waiter is left behind"

    asyncio.run(scenario())


def test_a_cancelled_wait_is_cancelled():
    async def scenario():
        stop = Stop()
        task = asyncio.create_task(stop.wait(30))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_a_cancellation_while_the_wait_is_ending_is_not_swallowed():
    async def scenario():
        stop = Stop()

        async def waiting():
            await stop.wait(30)
            await asyncio.sleep(0)
            return "went on"

        for turns in range(6):  # whichever step of the wait's end the cancellation meets
            stop = Stop()
            task = asyncio.create_task(waiting())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            stop.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.done():
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_process(number):
    code = (
        "import asyncio, os, signal; from easyalert.runtime import Stop\n"
        "async def main():\n"
        "    stop = Stop(); stop.install(); os.kill(os.getpid(), %d)\n"
        "    print(await stop.wait(30), stop.reason)\n"
        "asyncio.run(main())"
    )
    assert in_python(code % number).stdout == f"True {number.name}\n"


# ---- backoff --------------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 10), st.floats(0.01, 1000), st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_pauses_lie_in_the_upper_half_of_a_growing_capped_range(first, cap, failures, chance):
    backoff = Backoff(first, cap, random=lambda: chance)
    pauses = [backoff.next() for _ in range(failures)]
    for number, pause in enumerate(pauses):
        ceiling = min(cap, first * 2 ** min(number, 30))
        assert ceiling / 2 <= pause <= ceiling
    assert pauses == sorted(pauses)
    backoff.reset()
    assert backoff.next() == pauses[0]


def test_a_fleet_does_not_return_in_step():
    assert len({Backoff(1, 60).next() for _ in range(10)}) > 1


def test_exit_codes_differ():
    assert len({runtime.EXIT_OK, runtime.EXIT_FAILURE, runtime.EXIT_CONFIGURATION}) == 3
    assert runtime.EXIT_OK == 0
