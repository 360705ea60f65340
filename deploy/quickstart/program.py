"""Starting the two programs, as a person would: by their commands, with settings from the environment only."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.quickstart.errors import NotPossibleError, QuickstartError
from deploy.quickstart.record import stop
from easyalert.runtime import ProcessIdentity, boot_id, start_ticks

AGENT_STOP_SECONDS = 100.0
"""Running jobs get 30 s, and supervisord waits for heartbeat, admin and Redis one after the other."""
CONTROLPLANE_STOP_SECONDS = 40.0
"""It lets the long polls go, and answers what is under way."""
PORTS_TRIED = 50
_LOG_TAIL_LINES = 12


class Program:
    """A started program: in a session of its own, so that Ctrl-C at the terminal reaches `scripts/up` alone."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], *, log: Path, cwd: Path) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._start_of_log = output.tell()
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # a child that ended already is a zombie until it is waited for, so the number is still its own
        self.identity = ProcessIdentity(boot_id(), self._process.pid, start_ticks(self._process.pid) or 0)

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises QuickstartError with the end of its log when it has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise QuickstartError(f"The {self.name} ended by itself (exit code {code}). {self._last_words()}")

    def stop(self, within: float) -> bool:
        """SIGTERM, wait, SIGKILL. Whether it ended in time."""
        in_time = stop(self.identity, within)
        self.reap()
        return in_time

    def reap(self) -> None:
        """Take note of its end, once it was stopped by way of its identity."""
        self._process.wait(timeout=5)

    def _last_words(self) -> str:
        try:
            with self._log.open("rb") as file:
                file.seek(self._start_of_log)
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        tail = "\n    ".join(lines[-_LOG_TAIL_LINES:])
        return f"The end of {self._log}:\n    {tail}" if tail else f"It wrote nothing to {self._log}."


def command(name: str, *arguments: str) -> list[str]:
    """An installed command of this virtual environment."""
    return [str(Path(sys.executable).parent / name), *arguments]


def run_once(argv: list[str], environment: Mapping[str, str], what: str) -> str:
    """Run a short command to its end; its stdout. Raises QuickstartError with its own words when it fails."""
    done = subprocess.run(
        argv, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode != 0:
        raise QuickstartError(f"{what} failed (exit code {done.returncode}): {done.stderr.strip()}")
    return done.stdout


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What programs of ours get from the caller's environment: all but settings of another agent or control plane.

    The programs talk to each other over loopback, which no proxy may see.
    """
    foreign = ("AGENT_", "ADMIN_", "EASYALERT_")
    others = {"VAULT_PATH", "STATE_DIR", "REDIS_URL", "POLL_INTERVAL", "HEARTBEAT_INTERVAL"}
    kept = {k: v for k, v in environment.items() if not k.startswith(foreign) and k not in others}
    direct = ",".join(filter(None, ("127.0.0.1,localhost", kept.get("NO_PROXY") or kept.get("no_proxy"))))
    return {**kept, "NO_PROXY": direct, "no_proxy": direct}


def choose_port(wanted: int | None, usual: int) -> int:
    """`wanted` exactly, or the first free one from `usual` upwards.

    Raises NotPossibleError with the reason when it is taken, not allowed, or none is free.
    """
    if wanted is not None:
        problem = _bind_problem(wanted)
        if problem == errno.EADDRINUSE:
            raise NotPossibleError(
                f"Port {wanted} is in use by another program. Choose another one, or leave --port out."
            )
        if problem == errno.EACCES:
            raise NotPossibleError(f"This account may not listen on port {wanted}. Choose one above 1023.")
        if problem:
            raise NotPossibleError(f"Port {wanted} cannot be used: {os.strerror(problem)}.")
        return wanted
    for port in range(usual, min(usual + PORTS_TRIED, 65536)):
        if not _bind_problem(port):
            return port
    raise NotPossibleError(f"No port from {usual} to {usual + PORTS_TRIED - 1} is free. Name a free one with --port.")


def _bind_problem(port: int) -> int:
    """0, or the error number of listening there on loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port in TIME_WAIT is free
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def ignore_terminal_signals() -> None:
    """Further Ctrl-C while everything is being stopped changes nothing."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
