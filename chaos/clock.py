"""Clocks that can be moved under running programs: a preloaded library (`clockshim.c`) and the file that steers it."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chaos.preload import library
from tests.support.require import require_program

_SECOND: Final = 1_000_000_000
CONTROL_VARIABLE: Final = "CLOCKSHIM_CONTROL"


class _Control(ctypes.Structure):
    """`struct control` of clockshim.c. Each assignment is one store of eight bytes, which the readers rely on."""

    _fields_ = (
        ("sequence", ctypes.c_uint64),
        ("wall_ns", ctypes.c_int64),
        ("monotonic_ns", ctypes.c_int64),
        ("boot_ns", ctypes.c_int64),
        ("base_ns", ctypes.c_int64),
        ("rate", ctypes.c_double),
    )


class ClockControl:
    """The clocks of every program that was started with `environment()`; one writer at a time.

    Offsets are seconds against the machine's clocks; they add up. A sleep of the programs ends when their own clock
    says so, so a jump ends sleeps, and a sleep of an hour takes 15 s at a rate of 240. Clocks of this process, start
    times in /proc and timestamps of files stay real.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock.control"
        self._file.write_bytes(bytes(mmap.PAGESIZE))
        with self._file.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._control = _Control.from_buffer(self._map)
        with self._writing():
            self._control.rate = 1.0

    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to live by these clocks."""
        return {"LD_PRELOAD": str(library("clockshim")), CONTROL_VARIABLE: str(self._file)}

    def agents_environment(self) -> dict[str, str]:
        """The same for `easyalert-agent run`; its Redis, which gets none of it from the agent, comes first on PATH."""
        folder = self._file.parent / "clock.bin"
        folder.mkdir(exist_ok=True)
        real = require_program("valkey-server", "redis-server", package="redis-server")
        assignments = " ".join(f"{name}={value}" for name, value in self.environment().items())
        program = folder / "valkey-server"
        program.write_text(f'#!/bin/sh\nexec env {assignments} {real} "$@"\n')
        program.chmod(0o755)
        return {**self.environment(), "PATH": f"{folder}:{os.environ['PATH']}"}

    def step_wall(self, seconds: float) -> None:
        """Somebody sets the clock, forward or (negative) back: only wall time notices."""
        with self._writing():
            self._control.wall_ns += round(seconds * _SECOND)

    def pause(self, seconds: float) -> None:
        """The machine was suspended that long: wall and boot time have gone on, CLOCK_MONOTONIC has not."""
        with self._writing():
            self._control.wall_ns += round(seconds * _SECOND)
            self._control.boot_ns += round(seconds * _SECOND)

    def jump(self, seconds: float) -> None:
        """All clocks go forward, as if nothing had run for that long. Negative raises ValueError: two never go back."""
        if seconds < 0:
            raise ValueError("only the wall clock can be set back")
        with self._writing():
            for name in ("wall_ns", "monotonic_ns", "boot_ns"):
                setattr(self._control, name, getattr(self._control, name) + round(seconds * _SECOND))

    def rate(self, rate: float) -> None:
        """From now on so many seconds pass in a real one; 0 stops all clocks."""
        with self._writing():
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            self._fold(now)
            self._control.rate = rate

    def boot_ms(self) -> int:
        """Milliseconds since boot, sleep included, as those programs see it (as `easyalert.runtime.monotonic_ms`)."""
        since = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._control.base_ns
        ahead = self._control.boot_ns + int(since * (self._control.rate - 1))
        return int(time.clock_gettime_ns(time.CLOCK_BOOTTIME) + ahead) // 1_000_000

    def wall(self) -> float:
        """Wall time as those programs see it, epoch seconds."""
        since = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - self._control.base_ns
        ahead = float(self._control.wall_ns + since * (self._control.rate - 1))
        return (time.time_ns() + ahead) / _SECOND

    def _fold(self, now: int) -> None:
        ahead = int((now - self._control.base_ns) * (self._control.rate - 1)) if self._control.base_ns else 0
        for name in ("wall_ns", "monotonic_ns", "boot_ns"):
            setattr(self._control, name, getattr(self._control, name) + ahead)
        self._control.base_ns = now

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._control.sequence += 1
        try:
            yield
        finally:
            self._control.sequence += 1
