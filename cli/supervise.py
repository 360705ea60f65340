"""`python -I -m cli.supervise CONFIG LOCK_FD`: supervisord inside this process; the end of `easyalert-agent run`.

What is added to supervisord: it looks at signals at once instead of within a second, starts its programs at once and
from what it has imported for all of them (`cli.programs`), and takes SIGHUP (the terminal is gone) for the end instead
of a restart, and its programs never outlive it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from supervisor import process, rpcinterface, supervisord
from supervisor.options import ServerOptions
from supervisor.poller import PollPoller
from supervisor.states import SupervisorStates

from cli import output, programs
from easyalert.errors import ConfigurationError
from easyalert.hardening import become_subreaper, follow_supervisor, harden


def main() -> int:
    """Run until SIGTERM or SIGINT, then stop the programs in the order of the configuration; the exit code."""
    configuration, lock = sys.argv[1], int(sys.argv[2])
    harden()  # exec has undone it
    # held by this process alone: a program that hangs must not keep the state directory locked
    os.set_inheritable(lock, False)  # noqa: FBT003 - the function takes no keyword
    relays = output.make_reopenable()
    become_subreaper()
    steady = SteadyTime()
    for module in (process, rpcinterface, supervisord):
        module.time = steady
    options = PromptOptions()
    # preflight has said what there is to say about root
    options.realize(["-c", configuration, "-n", *(["-u", "root"] if os.geteuid() == 0 else [])])
    options.first = True
    options.test = False
    programs.preload()
    supervisord.go(options)
    signal.set_wakeup_fd(-1)
    options.poller.close_wakeup()
    options.close_httpservers()
    options.close_logger()
    _record_stop()
    output.wait_for(relays)
    return 0


def _record_stop() -> None:
    # imported now: this process is small for as long as the agent runs
    from easyalert.audit import record  # noqa: PLC0415 - as above
    from easyalert.settings import load_settings  # noqa: PLC0415 - as above

    with contextlib.suppress(ConfigurationError):  # the start has checked them; they may have been changed meanwhile
        settings = load_settings()
        record(settings.journal_path, settings.audit_dir, "agent.stopped", pid=os.getpid())


class SteadyTime:
    """In place of the module `time` for supervisord: its waits and its programs' ages do not go by a clock that is set.

    By wall time, a clock set forward while it stops would end the 30 s that running jobs have.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def time(self) -> float:
        """Epoch seconds by the clock as it was at the start, carried on by the monotonic one."""
        return self._ahead + time.monotonic()

    def __getattr__(self, name: str) -> Any:
        """Everything else of the module."""
        return getattr(time, name)


class PromptPoller(PollPoller):
    """A poll that ends when a signal arrives, and whose first round does not wait."""

    def initialize(self) -> None:
        """Called once by the base class."""
        super().initialize()
        self._first = True
        self._wake_reading, self._wake_writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_writing, warn_on_full_buffer=False)
        self._poller.register(self._wake_reading, self.READ)

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Readable and writable descriptors, ours left out."""
        if self._first:
            self._first, timeout = False, 0
        elif self.options.mood < SupervisorStates.RUNNING:
            timeout = min(timeout, 0.1)  # a group is stopped when the one before it is gone: do not linger between them
        readable, writable = super().poll(timeout)
        if self._wake_reading in readable:
            readable.remove(self._wake_reading)
            os.read(self._wake_reading, 4096)
        return readable, writable

    def close_wakeup(self) -> None:
        """Close what a signal is announced through; after `signal.set_wakeup_fd(-1)`."""
        os.close(self._wake_reading)
        os.close(self._wake_writing)


class PromptOptions(ServerOptions):
    """supervisord's options with the poller above."""

    def __init__(self) -> None:
        super().__init__()
        self.poller = PromptPoller(self)

    def openhttpservers(self, supervisord_: supervisord.Supervisor) -> None:
        """Called by supervisord; a socket in a 0700 folder without a password is no critical finding."""
        level, self.logger.level = self.logger.level, sys.maxsize
        try:
            super().openhttpservers(supervisord_)
        finally:
            self.logger.level = level

    def setpgrp(self) -> None:
        """Called by supervisord in each new child, just before its exec: from here on it dies with supervisord.

        The programs ask for the same themselves, but only after a second of imports.
        """
        super().setpgrp()
        if not follow_supervisor():
            os._exit(1)

    def execve(self, filename: str, argv: list[str], env: dict[str, str]) -> Any:
        """Called by supervisord last in each new child: become the program, without an exec where it is one of ours."""
        name = programs.named(argv)
        if name is not None:
            programs.become(name, argv, env)
        return super().execve(filename, argv, env)

    def setsignals(self) -> None:
        """Called by supervisord when everything is open."""
        super().setsignals()
        signal.signal(signal.SIGHUP, self._hung_up)

    def _hung_up(self, _number: int, frame: FrameType | None) -> Any:
        return self.signal_receiver.receive(signal.SIGTERM, frame)


if __name__ == "__main__":
    sys.exit(main())
