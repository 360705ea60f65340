"""Programs of this repository as real processes, started the way supervisord starts them, ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


class Program:
    """`python -I -m <package>` with exactly this environment; its log goes to a file."""

    def __init__(
        self, package: str, environment: Mapping[str, str], *, log: Path, arguments: tuple[str, ...] = ()
    ) -> None:
        self.log_path = log
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", package, *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=log.parent,
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """False once it has ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace")

    def terminate(self, within: float = 30.0) -> int:
        """SIGTERM, then its exit code; AssertionError when it does not end."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait(within)

    def wait(self, within: float = 30.0) -> int:
        """Its exit code; AssertionError when it does not end."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within} s; its log:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL; idempotent."""
        if self.running:
            self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Kill it if it still runs."""
        self.kill()
        self._log.close()
