"""What every long-running process of the agent does the same way: hardening, stopping, waiting, naming itself.

Every wait is "stop or tick": a loop that sleeps cannot be stopped in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easyalert.errors import ConfigurationError
from easyalert.hardening import become_subreaper, die_with_parent, harden

__all__ = [
    "EXIT_CONFIGURATION",
    "EXIT_DEGRADED",
    "EXIT_FAILURE",
    "EXIT_NOT_RUNNING",
    "EXIT_OK",
    "EXIT_REFUSED",
    "OUR_PACKAGES",
    "Backoff",
    "ProcessIdentity",
    "Stop",
    "become_subreaper",
    "before_everybody",
    "boot_id",
    "die_with_parent",
    "harden",
    "monotonic_ms",
    "refuse_foreign_packages",
    "start_ticks",
    "this_process",
]

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
"""A fatal error; the log says which."""
EXIT_CONFIGURATION: Final = 2
"""A setting, a file or a permission has to be changed by a person."""
EXIT_NOT_RUNNING: Final = 3
"""`easyalert-agent status`: no agent runs on the state directory."""
EXIT_DEGRADED: Final = 4
"""`easyalert-agent status`: the agent runs, and something about it needs attention."""
EXIT_REFUSED: Final = 5
"""`easyalert-agent policy check`: the job would be refused."""

OUR_PACKAGES: Final = ("easyalert", "vault", "poller", "workers", "heartbeat", "admin", "cli", "controlplane")


@dataclass(frozen=True)
class ProcessIdentity:
    """Names one process for ever: a pid alone is reused, and means nothing after a reboot."""

    boot_id: str
    pid: int
    start_ticks: int
    """Start time in clock ticks since boot (`/proc/PID/stat`, field 22)."""

    def alive(self) -> bool:
        """True while exactly this process exists and is no zombie."""
        return self.boot_id == boot_id() and start_ticks(self.pid) == self.start_ticks


def this_process() -> ProcessIdentity:
    """The identity of the calling process. Not cached: it differs after a fork."""
    pid = os.getpid()
    ticks = start_ticks(pid)
    if ticks is None:
        raise ConfigurationError("/proc is not readable; the agent needs it to tell its processes apart")
    return ProcessIdentity(boot_id(), pid, ticks)


def start_ticks(pid: int) -> int | None:
    """Start time of `pid` in clock ticks since boot; None when it is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # the command name is in parentheses and may hold spaces and parentheses itself
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])


def boot_id() -> str:
    """Changes at every boot of the machine. Raises ConfigurationError where /proc does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            f"/proc is not readable ({error.strerror}); the agent runs on Linux with /proc"
        ) from None


def monotonic_ms() -> int:
    """Milliseconds since boot, sleep included, never set back; comparable between processes of one boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@contextlib.contextmanager
def before_everybody() -> Iterator[None]:
    """Run the body before all ordinary processes, where this account may (root): what ends a tree that grows by the
    hundred must not wait for its turn among them. The kernel keeps a share for the others.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def refuse_foreign_packages() -> None:
    """Our top-level names are plain words; another distribution that owns one would be imported instead of ours.

    Raises ConfigurationError naming it.
    """
    from importlib.metadata import packages_distributions  # noqa: PLC0415 - 6 MB that only a start-up check needs

    owners = packages_distributions()
    for package in OUR_PACKAGES:
        foreign = sorted(set(owners.get(package, ())) - {"easyalert-agents"})
        if foreign:
            raise ConfigurationError(
                f"the Python package '{package}' is also installed by {', '.join(foreign)}; "
                "give the agent a virtual environment of its own (scripts/setup makes one)"
            )


class Stop:
    """Set once by SIGTERM or SIGINT; everything in an asyncio process that waits, waits for this or a tick."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""

    def install(self) -> None:
        """Take over SIGTERM and SIGINT of the running loop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.set, signal.Signals(number).name)

    def set(self, reason: str = "stop") -> None:
        """Idempotent; the first reason is kept."""
        self.reason = self.reason or reason
        self._event.set()

    @property
    def is_set(self) -> bool:
        """True from the first signal on."""
        return self._event.is_set()

    async def wait(self, seconds: float | None = None, *others: asyncio.Event) -> bool:
        """Wait for the stop, one of `others`, or the time. Returns `is_set`. `others` are cleared by the caller."""
        if self._event.is_set() or any(event.is_set() for event in others):
            return self._event.is_set()
        waiters = [asyncio.ensure_future(event.wait()) for event in (self._event, *others)]
        try:
            await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            # gathered, not awaited one by one: a cancellation of ourselves in this moment must not be swallowed
            await asyncio.gather(*waiters, return_exceptions=True)
        return self._event.is_set()


@dataclass
class Backoff:
    """Growing pauses with full jitter in their upper half, so that a fleet does not return in step."""

    first: float
    cap: float
    random: Callable[[], float] = random.random
    failures: int = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        ceiling: float = min(self.cap, self.first * 2 ** min(self.failures, 30))
        self.failures += 1
        return ceiling * (0.5 + self.random() / 2)

    def reset(self) -> None:
        """Called after a success."""
        self.failures = 0
