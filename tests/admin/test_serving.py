"""The server's process as its parent sees it; what it serves is shown in `test_main.py`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from admin import serving
from admin.serving import outlast
from easyalert.runtime import Stop


def program(code: str) -> int:
    return os.posix_spawn(sys.executable, [sys.executable, "-I", "-c", code], {})


def outlasted(pid: int, *, stop_after: float | None = None) -> int:
    async def run() -> int:
        stop = Stop()
        if stop_after is not None:
            asyncio.get_running_loop().call_later(stop_after, stop.set)
        return await asyncio.wait_for(outlast(pid, stop), 20)

    return asyncio.run(run())


def test_its_exit_code_is_passed_on():
    assert outlasted(program("")) == 0
    assert outlasted(program("raise SystemExit(3)")) == 3


def test_a_signal_is_no_good_end():
    pid = program("import time; time.sleep(60)")
    os.kill(pid, signal.SIGKILL)
    assert outlasted(pid) == -signal.SIGKILL


def test_a_stop_is_passed_on_and_its_end_waited_for():
    begun = time.monotonic()
    assert outlasted(program("import time; time.sleep(60)"), stop_after=0.1) == 0
    assert time.monotonic() - begun < 15


def test_who_does_not_obey_is_killed(monkeypatch):
    monkeypatch.setattr(serving, "END_WITHIN_S", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    assert outlasted(program(deaf), stop_after=1.0) == 0
