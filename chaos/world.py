"""The product under test: a control plane and agents behind proxies, kept running as a service manager would."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Final

import psutil

from chaos.clock import ClockControl
from chaos.proxy import Proxy
from easyalert.runtime import monotonic_ms
from tests.support.stack import Agent, ControlPlane

NAMES: Final = ("one", "two", "three", "four")
_RESTART_S: Final = 0.3
_DISK_MB: Final = 48


class KeptAgent:
    """An agent behind its proxy, on a small file system of its own where that can be had; restarted when it dies."""

    def __init__(self, folder: Path, plane: ControlPlane, cap: int) -> None:
        self.name = folder.name
        self.proxy = Proxy(plane.port)
        created = plane.create_agent(self.name)
        self.agent_id = str(created.get("agentId") or created["id"])
        folder.mkdir()
        self.clock = ClockControl(folder) if shutil.which("cc") else None
        """Its own clocks; None where no compiler can make the library that moves them."""
        self.agent = Agent(
            folder, self.proxy.url, created["apiKey"],
            MAX_CONCURRENT_JOBS=str(cap), MIN_FREE_DISK_MB="2", LONG_POLL_SECONDS="5",
            **(self.clock.environment() if self.clock else {}),
        )  # fmt: skip
        self.has_disk = _mount(self.agent.state_dir)
        self.exits: list[int] = []
        """Exit codes of all its runs."""
        self._down_since: float | None = None
        self._wanted = True
        self.agent.start()

    def tend(self) -> None:
        """Start it again when it is gone, a moment later. Call often."""
        assert self.agent.process is not None
        code = self.agent.process.poll()
        if code is None or not self._wanted:
            return
        now = time.monotonic()
        if self._down_since is None:
            self.exits.append(code)
            self._down_since = now
        elif now - self._down_since >= _RESTART_S:
            self._down_since = None
            self.agent.start()

    def programs(self) -> dict[str, psutil.Process]:
        """Name → process of every program that lives now, `supervisor` and the workers' pool (`workers`) included."""
        assert self.agent.process is not None
        found: dict[str, psutil.Process] = {}
        with contextlib.suppress(psutil.Error):
            supervisor = psutil.Process(self.agent.process.pid)
            found["supervisor"] = supervisor
            for child in supervisor.children():
                with contextlib.suppress(psutil.Error):
                    found[_program_of(child)] = child
        return found

    def workers(self) -> list[psutil.Process]:
        """The forks of the pool: workers and their bookkeeper, no process of a job."""
        with contextlib.suppress(psutil.Error, KeyError):
            pool = self.programs()["workers"]
            command = pool.cmdline()
            return [child for child in pool.children() if _command(child) == command]
        return []

    def family(self) -> list[psutil.Process]:
        """Every process of the agent, jobs' included, parents first."""
        with contextlib.suppress(psutil.Error, KeyError):
            supervisor = self.programs()["supervisor"]
            return [supervisor, *supervisor.children(recursive=True)]
        return []

    def now_ms(self) -> int:
        """Milliseconds since boot as this agent sees them: what its journal holds."""
        return self.clock.boot_ms() if self.clock else monotonic_ms()

    def stop(self) -> None:
        """SIGTERM and wait; SIGKILL for what does not end. The disk stays until `unmount`."""
        self._wanted = False
        family = self.family()
        try:
            self.exits.append(self.agent.stop(timeout=60))
        except subprocess.TimeoutExpired:
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.exits.append(self.agent.stop(signal.SIGKILL))
        self.proxy.close()

    def unmount(self) -> None:
        """Give the disk back."""
        if self.has_disk:
            subprocess.run(["umount", "-l", str(self.agent.state_dir)], check=False, capture_output=True)


class World:
    """Control plane and agents, from construction to `close`."""

    def __init__(self, folder: Path, *, agents: int, cap: int) -> None:
        self.folder = folder
        self.cap = cap
        self.agents: list[KeptAgent] = []
        self.plane_lock = threading.Lock()
        """Held while the control plane is down on purpose."""
        self.control_plane = ControlPlane(folder, EASYALERT_CP_LOG_LEVEL="WARNING")
        try:
            for name in NAMES[:agents]:
                self.agents.append(KeptAgent(folder / name, self.control_plane, cap))
        except BaseException:
            self.close()
            raise

    def tend(self) -> None:
        """Keep the agents running."""
        for kept in self.agents:
            kept.tend()

    def close(self) -> None:
        """End everything, whatever has failed before."""
        with contextlib.ExitStack() as ends:
            ends.callback(self.control_plane.api.close)
            ends.callback(self.control_plane.stop, signal.SIGKILL)
            for kept in self.agents:
                ends.callback(kept.unmount)
                ends.callback(kept.stop)

    def stray_processes(self) -> list[psutil.Process]:
        """Processes of the agents and their jobs that live now: whose environment or command names the run's folder."""
        wanted = f"{self.folder}/"
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                text = " ".join((*process.cmdline(), *process.environ().values()))
                if wanted in text and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                    found.append(process)
        return found


def _program_of(process: psutil.Process) -> str:
    command = process.cmdline()
    if "-m" in command:
        module = command[command.index("-m") + 1]
        return "redis" if module == "cli.redis_server" else module
    return "redis" if "redis" in process.name() or "valkey" in process.name() else process.name()


def _command(process: psutil.Process) -> list[str] | None:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return None


def _mount(place: Path) -> bool:
    """A file system in memory, small enough to be filled; only root may."""
    place.mkdir(mode=0o700)
    if os.geteuid() != 0:
        return False
    command: list[Any] = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m,mode=0700", "none", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
