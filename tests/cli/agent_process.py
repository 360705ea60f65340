"""`easyalert-agent run` as a real process, on a home of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.supervisor_rpc import process_table
from tests.support.ports import free_port
from tests.support.waiting import eventually

COMMAND = Path(sys.executable).with_name("easyalert-agent")
API_KEY = "ea_agent_of_the_tests"


class AgentProcess:
    """Started by `start`; `close` ends it and whatever it left."""

    def __init__(self, state_dir: Path, url: str, **environment: str) -> None:
        self.state_dir = state_dir
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(state_dir.parent),
            "AGENT_API_URL": url,
            "AGENT_API_KEY": API_KEY,
            "STATE_DIR": str(state_dir),
            "ADMIN_PORT": str(free_port()),
            "ADMIN_TOKEN": "admin-token-of-the-tests",
            "HEARTBEAT_INTERVAL": "1",
            **environment,
        }
        self.log_path = state_dir.parent / f"{state_dir.name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, output: Any = None) -> AgentProcess:
        """Its output goes to its log, or to `output` (a file or a socket)."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [COMMAND, "run"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output or log,
                stderr=output or log,
                cwd=self.state_dir.parent,
                start_new_session=True,
            )
        return self

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Another command on the same state directory, to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            cwd=self.state_dir.parent,
            timeout=30,
            check=False,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def table(self) -> dict[str, Mapping[str, Any]]:
        """Supervisor's view by program; empty before it answers."""
        return {row["name"]: row for row in process_table(self.state_dir / "run" / "supervisor.sock") or []}

    def table_pids(self) -> dict[str, int]:
        """Pids of what runs now; 0 for what does not."""
        return {name: row["pid"] for name, row in self.table().items()}

    def running(self, *names: str) -> dict[str, int]:
        """Pids, once all of `names` run (for a second, as supervisord defines it)."""

        def pids() -> dict[str, int] | None:
            table = self.table()
            wanted = names or tuple(table)
            good = wanted and all(name in table and table[name]["statename"] == "RUNNING" for name in wanted)
            return {name: table[name]["pid"] for name in wanted} if good else None

        return eventually(pids, within=20, what=f"programs {names} running; log:\n{self.log}")

    def stop(self, number: int = signal.SIGTERM, within: float = 30) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(within)

    def close(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
