"""The whole product on free ports: a real control plane and real agents, each on a state directory of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from supervisor.xmlrpc import SupervisorTransport

from controlplane.cli.store import open_database
from controlplane.clock import SystemClock
from controlplane.services.tokens import Scope, create_token
from controlplane.settings import ControlPlaneSettings
from tests.support.ports import free_port
from tests.support.waiting import eventually

BIN = Path(sys.executable).parent
FINAL = {"success", "error", "timed_out", "cancelled", "in_doubt", "expired"}


class ControlPlane:
    """One `easyalert-controlplane serve` on its own data folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "controlplane.log"
        self.environment = _clean_environment() | environment
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.api = httpx.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self._token()}"}, timeout=40,
            # no connection is kept: a server that ends, or whose clock is moved, may close it while a request is on its way
            limits=httpx.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(BIN / "easyalert-controlplane"), "serve", "--port", str(self.port), "--data-dir", str(self.folder / "cp")],
                env=self.environment, stdout=log, stderr=log, cwd=self.folder,
            )  # fmt: skip
        eventually(self.ready, within=120, what=f"control plane answers; its log: {self.log.read_text()[-2000:]}")

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def _token(self) -> str:
        """An administrator's, as `easyalert-controlplane token create` makes it, without a process of its own."""
        settings = ControlPlaneSettings(_env_file=None, data_dir=str(self.folder / "cp"))  # type: ignore[call-arg] - pydantic's
        with open_database(settings) as database, database.write() as session:
            return create_token(session, SystemClock().now(), name="tests", scope=Scope.ADMIN)[1]

    def create_agent(self, name: str, pool: str = "default") -> dict[str, Any]:
        answer = self.api.post("/agents", json={"name": name, "poolId": pool})
        assert answer.status_code == 201, answer.text
        return dict(answer.json()["data"])

    def submit(self, action: str, params: Mapping[str, Any] | None = None, **more: Any) -> str:
        target = {} if {"agentId", "poolId"} & more.keys() else {"poolId": "default"}
        answer = self.api.post("/jobs", json={"actionType": action, "params": params or {}, **target, **more})
        assert answer.status_code == 201, answer.text
        job = answer.json()["data"]
        return str(job.get("jobId") or job["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.api.get(f"/jobs/{job_id}").json()["data"])

    def wait(self, job_id: str, timeout: float = 60.0) -> dict[str, Any]:
        """The job, once it is final. It is the server that waits: asking all the time would cost it as much as its work."""

        def final() -> dict[str, Any] | None:
            job = dict(self.api.get(f"/jobs/{job_id}", params={"wait": 2}).json()["data"])
            return job if job["status"] in FINAL else None

        return dict(eventually(final, within=timeout, what=f"job {job_id} final, is {self.job(job_id)}"))

    def agent(self, agent_id: str) -> dict[str, Any]:
        return dict(self.api.get(f"/agents/{agent_id}").json()["data"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


class Agent:
    """One `easyalert-agent run` on its own state directory."""

    def __init__(self, folder: Path, url: str, api_key: str, **environment: str) -> None:
        self.folder = folder
        self.state_dir = folder / "state"
        self.admin_port = free_port()
        self.log = folder / "agent.log"
        self.environment = _clean_environment() | {
            "AGENT_API_URL": url,
            "AGENT_API_KEY": api_key,
            "AGENT_NAME": folder.name,
            "STATE_DIR": str(self.state_dir),
            "ADMIN_PORT": str(self.admin_port),
            "HEARTBEAT_INTERVAL": "2",
            **environment,
        }
        self.prefix: tuple[str, ...] = ()
        """Words before the command: a program that becomes the agent after having changed its surroundings."""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Agent:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(BIN / "easyalert-agent"), "run"],
                env=self.environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        return self

    def programs(self) -> dict[str, int]:
        """Name → pid of each program that lives; supervisord calls one RUNNING only after its first second."""
        with xmlrpc.client.ServerProxy(
            "http://127.0.0.1",
            transport=SupervisorTransport(None, None, f"unix://{self.state_dir}/run/supervisor.sock"),
        ) as proxy:
            rows: Any = proxy.supervisor.getAllProcessInfo()
        return {row["name"]: row["pid"] for row in rows if row["statename"] in {"STARTING", "RUNNING"}}

    def kill(self, program: str) -> int:
        """SIGKILL one program by its pid; returns the pid."""

        def find() -> int | None:
            try:
                return self.programs().get(program)
            except (OSError, xmlrpc.client.Error):
                return None

        pid = int(eventually(find, within=60, what=f"{program} running"))
        os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout)

    @property
    def admin(self) -> httpx.Client:
        token = (self.state_dir / "admin_token").read_text().strip()
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.admin_port}", headers={"Authorization": f"Bearer {token}"}, timeout=10
        )


class Stack:
    """A control plane with one agent in the pool `default`; more on request."""

    def __init__(self, folder: Path, **agent_environment: str) -> None:
        self.folder = folder
        self.control_plane = ControlPlane(folder)
        self.agents: list[Agent] = []
        self.agent_id = ""
        self.agent = self.add_agent("one", **agent_environment)

    def add_agent(self, name: str, pool: str = "default", **environment: str) -> Agent:
        created = self.control_plane.create_agent(name, pool)
        self.agent_id = self.agent_id or str(created.get("agentId") or created["id"])
        folder = self.folder / name
        folder.mkdir()
        agent = Agent(folder, self.control_plane.url, created["apiKey"], **environment)
        self.agents.append(agent)
        return agent.start()

    def stop(self) -> None:
        try:
            for agent in self.agents:
                agent.stop()
        finally:
            self.control_plane.stop()
            self.control_plane.api.close()


@contextmanager
def running_stack(**agent_environment: str) -> Iterator[Stack]:
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as folder:
        stack = Stack(Path(folder), **agent_environment)
        try:
            yield stack
        finally:
            stack.stop()


def _clean_environment() -> dict[str, str]:
    names = ("PATH", "HOME", "LANG", "TZ", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in names if name in os.environ}
