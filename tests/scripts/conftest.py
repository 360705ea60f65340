from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Host:
    """A machine as a script sees it: a PATH of stand-ins, each of which notes how it was called."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.calls_file = folder / "calls"
        self.calls_file.touch()

    def program(self, name: str, body: str = "exit 0") -> None:
        file = self.bin / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls_file}"\n{body}\n')
        file.chmod(0o755)

    def real(self, *names: str) -> None:
        """Programs of this machine that the script may use."""
        for name in names:
            found = next(Path(d) / name for d in ("/usr/bin", "/bin") if (Path(d) / name).exists())
            (self.bin / name).symlink_to(found)

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines()

    def run(self, *command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=cwd,
            env={"PATH": str(self.bin), "HOME": os.environ.get("HOME", "/"), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def host(tmp_path) -> Host:
    host = Host(tmp_path)
    host.real("sh", "basename", "sed", "tr", "grep", "env", "mktemp", "rm", "tail", "cat", "dirname", "true")
    return host


@pytest.fixture
def as_user(host) -> Callable[[], None]:
    """The script believes that an ordinary account runs it."""
    host.program("id", "echo 1000")
    return host
