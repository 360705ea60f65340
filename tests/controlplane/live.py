"""A control plane on a real socket, in a thread of the test, and the clients that talk to it."""

from __future__ import annotations

import socket
import threading
from typing import Any

import httpx
import uvicorn

from controlplane.api.app import create_app, stop_waiting
from controlplane.api.runtime import Runtime
from controlplane.models.engine import Database
from controlplane.services import agents, keys, tokens
from controlplane.services.tokens import Scope
from controlplane.settings import ControlPlaneSettings
from easyalert.protocol import paths
from tests.controlplane.world import EXTENSIONS, FakeClock
from tests.support.waiting import eventually

SLOW = 20.0
"""Far more than anything here takes: what needs this long hangs."""


class LiveService:
    """An application that listens, with tokens of every scope and ways to make agents."""

    def __init__(self, database: Database, clock: Any = None, **settings: Any) -> None:
        self.database = database
        self.clock = clock or FakeClock()
        self.runtime = Runtime(ControlPlaneSettings(**settings), database, self.clock)
        self.app = create_app(self.runtime)
        self.tokens = {scope: self._token(scope) for scope in Scope}
        self._clients: list[httpx.Client] = []
        self._listen()

    def _token(self, scope: Scope) -> str:
        with self.database.write() as session:
            return tokens.create_token(session, self.clock.now(), name=scope.name, scope=scope)[1]

    def agent_key(self, pool: str = "default") -> tuple[str, str]:
        """Id and key of a new agent."""
        key = keys.new_agent_key()
        hashed = keys.hash_key(key)
        with self.database.write() as session:
            agent = agents.create(
                session, self.clock.now(), name=f"agent-{key[9:17]}", key=key, key_hash=hashed, pool_id=pool
            )
        return agent.id, key

    def bearer(self, scope: Scope = Scope.ADMIN) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[scope]}"}

    def _listen(self) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            self.app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=5, ws="none"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        self.operator = self.client(headers=self.bearer())
        eventually(lambda: self._server.started, what="the server")

    @property
    def waiting(self) -> set[str]:
        """Ids of the agents whose polls wait."""
        dispatcher = self.app.state.dispatcher
        return set() if dispatcher._marked else set(dispatcher._waiters)

    def stop_waiting(self) -> None:
        """As the server does when it is told to stop."""
        loop = self.runtime._loop
        assert loop is not None
        loop.call_soon_threadsafe(stop_waiting, self.app)

    def client(self, **options: Any) -> httpx.Client:
        client = httpx.Client(base_url=self.url, timeout=SLOW, trust_env=False, **options)
        self._clients.append(client)
        return client

    def agent(self, pool: str = "default", *, features: tuple[str, ...] = EXTENSIONS, **said: Any) -> LiveAgent:
        agent_id, key = self.agent_key(pool)
        agent = LiveAgent(self.client(headers={paths.API_KEY_HEADER: key}), agent_id)
        agent.register(features, **said)
        return agent

    def submit(self, action: str = "script.bash", **asked: Any) -> str:
        answer = self.operator.post("/api/v1/jobs", json={"actionType": action, "params": {"script": "true"}, **asked})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["data"]["id"])

    def job(self, job_id: str, wait: float = 0) -> dict[str, Any]:
        # A client of its own: readers may wait beside one another.
        with httpx.Client(base_url=self.url, timeout=2 * SLOW, trust_env=False, headers=self.bearer()) as client:
            answer = client.get(f"/api/v1/jobs/{job_id}", params={"wait": wait})
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data

    def close(self) -> None:
        self.stop_waiting()
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join(SLOW)
        assert not self._thread.is_alive()


class LiveAgent:
    """An agent's requests, one by one."""

    def __init__(self, client: httpx.Client, agent_id: str) -> None:
        self.client = client
        self.id = agent_id

    def register(self, features: tuple[str, ...] = EXTENSIONS, **said: Any) -> dict[str, Any]:
        body = {"hostname": "h", "agentName": "n", "version": "0.1.0", "platform": "Linux", "architecture": "x86_64"}
        extra = {"features": list(features), "maxConcurrentJobs": 5} if features else {}
        return self._good(self.client.post(paths.REGISTER, json={**body, **extra, **said}))

    def poll(self, **query: Any) -> list[dict[str, Any]]:
        return self._good(self.client.get(paths.JOBS, params={"agentId": self.id, **query}))

    def ack(self, *jobs: dict[str, Any]) -> dict[str, Any]:
        items = [{"jobId": j["jobId"], "attempt": j["attempt"]} for j in jobs]
        return self._good(self.client.post(paths.JOBS_ACK, json={"agentId": self.id, "jobs": items}))

    def report(self, *results: Any) -> list[dict[str, Any]]:
        return self._good(self.client.post(paths.RESULTS, json=list(results)))["results"]

    def heartbeat(self, status: str = "online", **more: Any) -> None:
        body = {"agentId": self.id, "status": status, "jobsExecuted": 0, "jobsFailed": 0, "uptimeSeconds": 1}
        self._good(self.client.post(paths.HEARTBEAT, json={**body, "version": "0.1.0", "systemMetrics": {}, **more}))

    @staticmethod
    def _good(answer: httpx.Response) -> Any:
        assert answer.status_code == 200, answer.text
        assert answer.json()["success"] is True
        return answer.json()["data"]
