"""One flight: a control plane and an agent with everything logged, all canaries sent through, all that was kept collected."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from redis import Redis

from easyalert.journal import Journal
from tests.canaries import stores
from tests.canaries.case import Case, Job, case_of
from tests.canaries.search import Finding, Search, everything
from tests.canaries.secrets import Canaries
from tests.canaries.watch import Watch
from tests.support.faults import Status
from tests.support.gateway import Gateway
from tests.support.redis_server import RedisServer
from tests.support.stack import BIN, Agent, ControlPlane
from tests.support.waiting import eventually
from workers.registry import Registry

LIMIT_S = 5
"""Of hanging jobs."""


class Secrets(Canaries):
    """What cases get: canaries, and those that only go into parameters."""

    def __init__(self, forms: Path) -> None:
        super().__init__()
        self.forms = forms
        self.parameters = Canaries()

    def sent(self, label: str) -> str:
        """See `tests.canaries.case.Secret`."""
        return self.parameters.plain(label)


@dataclass
class Flight:
    """What happened, for the test to judge."""

    folder: Path
    """Everything the product keeps."""
    hidden: Path
    """What the test keeps: nothing here is searched."""
    secrets: Secrets
    jobs: list[tuple[str, Job]] = field(default_factory=list)
    """Submitted ones, by their ids."""
    hanged: dict[str, str] = field(default_factory=dict)
    """How each hanging job was ended, by its id."""
    kinds: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    watch: Watch | None = None
    looked_at: list[str] = field(default_factory=list)
    """Names of all that was searched."""
    cored: list[str] = field(default_factory=list)
    """Names of programs that were made to dump core."""

    def search(self, found: Iterator[tuple[str, bytes]], *, agents: bool = False) -> None:
        """`agents`: kept by the agent, which keeps nothing of a job's parameters in clear either."""
        searches = [Search(self.secrets)] + ([Search(self.secrets.parameters)] if agents else [])
        for where, data in found:
            self.looked_at.append(where)
            for search in searches:
                self.findings += search.find(where, data)


def fly(folder: Path, hidden: Path) -> Flight:
    """All of it, about 40 s."""
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))  # inherited: whatever can, dumps its core
    flight = Flight(folder, hidden, Secrets(hidden / "forms"))
    try:
        with contextlib.ExitStack() as stack:
            _Run(flight, stack).run()
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    return flight


class _Run:
    def __init__(self, flight: Flight, stack: contextlib.ExitStack) -> None:
        self.flight, self.stack, self.secrets = flight, stack, flight.secrets
        self.plane = ControlPlane(flight.folder, EASYALERT_CP_LOG_LEVEL="DEBUG")
        stack.callback(self._close_plane)
        self.secrets.adopt("operator's token", self.plane.api.headers["Authorization"].removeprefix("Bearer "))
        created = self.plane.create_agent("canary")
        self.agent_id = str(created.get("agentId") or created["id"])
        self.key = self.secrets.adopt("API key", created["apiKey"])
        self.gateway = Gateway(self.plane.port)
        stack.callback(self.gateway.close)
        self.redis = self._redis_of_its_own()
        self.agent = self._agent()
        stack.callback(self._end_agent)
        self.watch: Watch

    # ---- the surroundings -------------------------------------------------------------------------------------------

    def _redis_of_its_own(self) -> RedisServer:
        folder = self.flight.folder / "redis"
        folder.mkdir()
        server = RedisServer(folder / "r.sock", folder=folder, persistent=True)
        self.stack.callback(server.kill)
        self.monitored: list[str] = []
        self.admin_redis = self.stack.enter_context(server.client())
        self.admin_redis.config_set("slowlog-log-slower-than", 0)
        self.admin_redis.config_set("slowlog-max-len", 100_000)
        self.redis_password = self.secrets.plain("password of REDIS_URL")
        self.admin_redis.acl_setuser(
            "own", enabled=True, passwords=[f"+{self.redis_password}"], categories=["+@all"], keys=["*"], channels=["*"]
        )
        self._listening = threading.Event()
        threading.Thread(target=self._monitor, args=(server,), daemon=True).start()
        assert self._listening.wait(10)
        return server

    def _monitor(self, server: RedisServer) -> None:
        with contextlib.suppress(Exception), server.client() as client, client.monitor() as monitor:
            self._listening.set()
            for command in monitor.listen():
                self.monitored.append(command["command"])

    def _agent(self) -> Agent:
        self.admin_token = self.secrets.plain("admin token")
        self.secrets.forms.write_bytes(b"\n".join(sorted(everything(self.admin_token))))
        folder = self.flight.folder / "agent"
        (folder / "tmp").mkdir(parents=True)
        return Agent(
            folder, self.gateway.url, self.key,
            ADMIN_TOKEN=self.admin_token, REDIS_URL=f"unix://own:{self.redis_password}@{self.redis.socket_path}?db=0",
            LOG_LEVEL="DEBUG", ALLOW_PRIVATE_NETWORK="true", MAX_CONCURRENT_JOBS="6", CANCEL_GRACE_SECONDS="1",
            POLL_INTERVAL="1", TMPDIR=str(folder / "tmp"),
            # cases put programs there: of the machine, and of the agent's owner
            PATH=os.pathsep.join([str(self.flight.hidden / "bin"), os.environ["PATH"]]),
            CUSTOM_ACTIONS_DIR=str(self.flight.hidden / "actions"),
        )  # fmt: skip

    def _end_agent(self) -> None:
        if self.agent.process is not None:
            self.agent.stop()

    def _close_plane(self) -> None:
        self.plane.stop()
        self.plane.api.close()

    def _admin(self) -> Any:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.agent.admin_port}",
            headers={"Authorization": f"Bearer {self.admin_token}"},
            timeout=20,
        )

    # ---- the flight -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        self.agent.start()
        eventually(self._online, within=60, what="the agent online")
        self.flight.watch = self.watch = Watch(Search(self.secrets))
        cases = self._cases()
        self._hang(cases)
        self._send([job for case in cases.values() for job in case.jobs])
        self._mistakes()
        self._refused_control_plane()
        self._wait_for_all()
        self.flight.search(self._answers(list(self.flight.ended)))
        self.flight.search(self._redis(), agents=True)
        self.flight.search(stores.rows(self.agent.state_dir / "journal.sqlite3"), agents=True)
        self.flight.search(
            stores.copies(self.agent.state_dir / "journal.sqlite3", self.flight.folder / "agent-copies"), agents=True
        )
        self.flight.search(stores.files(self.flight.folder / "agent"), agents=True)  # with all that is open now
        self._dump_cores()
        self._rotate()
        self._land()

    def _online(self) -> bool:
        return bool(self.plane.agent(self.agent_id)["status"] == "online")

    def _cases(self) -> dict[str, Case]:
        self.flight.kinds = Registry(foreign={}).kinds()
        return {kind: self.stack.enter_context(case_of(kind)(self.secrets)) for kind in self.flight.kinds}

    def _submit(self, job: Job, number: int, **more: Any) -> str:
        connection = None
        if job.credential is not None:
            connection = f"conn-{number}"
            self._store(connection, job.credential, number)
        return self.plane.submit(job.action, job.params, connectionId=connection, **more)

    def _store(self, connection: str, credential: dict[str, Any], number: int) -> None:
        """By each of the three ways in turn."""
        if number % 3 == 0:
            with self._admin() as admin:
                assert admin.put(f"/connections/{connection}", json=credential).status_code == 200
        elif number % 3 == 1:
            stored = self.plane.submit(
                "system.storeCredential", {"connectionId": connection, "credentials": credential}
            )
            assert self.plane.wait(stored)["status"] == "success"
        else:
            done = self._command("vault", "set", connection, stdin=json.dumps(credential))
            assert done.returncode == 0, done.stderr

    def _command(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """As people run it: secrets in files, none in the environment."""
        secret = {"AGENT_API_KEY", "AGENT_API_KEY_PREVIOUS", "ADMIN_TOKEN", "REDIS_URL"}
        environment = {name: value for name, value in self.agent.environment.items() if name not in secret}
        key_file = self.flight.hidden / "key"
        key_file.write_text(self.key)
        key_file.chmod(0o600)
        done = subprocess.run(
            [str(BIN / "easyalert-agent"), *words], input=stdin, capture_output=True, text=True, check=False, timeout=60,
            env={**environment, "AGENT_API_KEY_FILE": str(key_file)}, cwd=self.agent.folder,
        )  # fmt: skip
        with (self.agent.folder / "commands.log").open("a") as log:
            log.write(f"{words} {done.stdout}{done.stderr}\n")
        return done

    def _send(self, jobs: list[Job]) -> None:
        for number, job in enumerate(jobs):
            self.flight.jobs.append((self._submit(job, number), job))

    def _hang(self, cases: dict[str, Case]) -> None:
        """Of each case, one that is timed out, one that is cancelled, one whose worker is killed, secret in hand."""
        for number, case in enumerate(case for case in cases.values() if case.hanging is not None):
            self._hanging(case, number, "timed out", timeout=LIMIT_S)
            eventually(lambda case=case: case.holds() == 1, within=60, what="a job holding the secret")
            for how, end in (("cancelled", self._cancel), ("killed", self._kill_worker_of)):
                holding = case.holds()
                job_id = self._hanging(case, number, how, timeout=300)
                eventually(lambda n=holding, case=case: case.holds() > n, within=60, what="a job holding the secret")
                end(job_id)

    def _hanging(self, case: Case, number: int, how: str, *, timeout: int) -> str:
        job = case.hanging
        assert job is not None
        job_id = self._submit(
            Job(job.action, {**job.params, "timeout": timeout}, job.credential), 900 + number, idempotent=False
        )
        self.flight.hanged[job_id] = how
        return job_id

    def _cancel(self, job_id: str) -> None:
        self.plane.api.post(f"/jobs/{job_id}/cancel")

    def _kill_worker_of(self, job_id: str) -> None:
        with Journal(self.agent.state_dir / "journal.sqlite3") as journal:
            for row in journal.running():
                if row.job_id == job_id and row.owner is not None and row.owner.alive():
                    os.kill(row.owner.pid, signal.SIGKILL)

    def _mistakes(self) -> None:
        """Secrets where they do not belong, or in the middle of what fails."""
        broken = json.dumps({"password": self.secrets("broken JSON at the admin API")})[:-1]
        with self._admin() as admin:
            assert admin.put("/connections/broken", content=broken).status_code == 400
            assert admin.put("/connections/bad%20id", json={"p": self.secrets("bad id")}).status_code == 400
            wrong = {"newApiKey": [self.secrets("an array as new key")]}
            assert admin.post("/vault/rekey", json=wrong).status_code == 400
            assert admin.get(f"/connections/{'x' * 300}").status_code >= 400
            assert (
                admin.put("/connections/kube", json={"kubeconfig": self.secrets("many lines", lines=True)}).status_code
                == 200
            )
        assert self._command(
            "vault", "set", "broken", stdin=f'{{"password": "{self.secrets.plain("broken JSON")}"'
        ).returncode
        assert self._command("vault", "rekey", "--key-file", str(self.flight.hidden / "none")).returncode
        for label, params in (
            ("bad id", {"connectionId": "a b/c", "credentials": {"p": self.secrets("storeCredential, bad id")}}),
            ("no object", {"connectionId": "x", "credentials": self.secrets("storeCredential, no object")}),
            ("list", {"connectionId": "x", "credentials": [self.secrets("storeCredential, list")]}),
        ):
            answer = self.plane.api.post(
                "/jobs", json={"actionType": "system.storeCredential", "params": params, "poolId": "default"}
            )
            if answer.status_code == 201:
                job_id = answer.json()["data"]["id"]
                assert self.plane.wait(job_id)["status"] == "error", label
        for wrong in (self.secrets.plain("a wrong token"), self.secrets.plain("another wrong token")):
            strange = {"Authorization": f"Bearer {wrong}"}
            assert httpx.get(f"{self.plane.url}/api/v1/jobs", headers=strange).status_code == 401
            assert (
                httpx.post(f"{self.plane.url}/api/v1/internal/agents/heartbeat", headers=strange, json={}).status_code
                == 401
            )
            assert httpx.get(f"http://127.0.0.1:{self.agent.admin_port}/status", headers=strange).status_code == 401
        tested = self.plane.submit("connection.test", {}, connectionId="kube")
        self.flight.jobs.append((tested, Job("connection.test", redacts=False)))

    def _refused_control_plane(self) -> None:
        """One that repeats the key it was called with, in body, header and reason."""
        echo = json.dumps(
            {"success": False, "error": f"the key {self.key} is not known, {everything(self.key)}"}
        ).encode()
        for code in (500, 401):
            self.gateway.always(
                Status(code, {"X-Echo": self.key, "WWW-Authenticate": f'Bearer realm="{self.key}"'}, echo)
            )
            length = self.agent.log.stat().st_size
            eventually(
                lambda length=length: self.agent.log.stat().st_size > length + 400, within=60, what="it in the log"
            )
            with self._admin() as admin:
                self.flight.search(iter([("status while refused", admin.get("/status").content)]), agents=True)
            status = self._command("status").stdout
            self.flight.search(iter([("status command while refused", status.encode())]), agents=True)
        self.gateway.well()

    def _wait_for_all(self) -> None:
        for job_id in [*(job_id for job_id, _ in self.flight.jobs), *self.flight.hanged]:
            self.flight.ended[job_id] = self.plane.wait(job_id, timeout=90)

    # ---- looking ----------------------------------------------------------------------------------------------------

    def _answers(self, jobs: list[str]) -> Iterator[tuple[str, bytes]]:
        known = {"agent_id": [self.agent_id], "pool_id": ["default"], "job_id": jobs}
        document = self.plane.api.get(f"{self.plane.url}/openapi.json").json()
        with httpx.Client(base_url=self.plane.url, headers=self.plane.api.headers, timeout=40) as client:
            yield from stores.answers(client, document, known)
        with self._admin() as admin:
            described = admin.get("/openapi.json").json()
            yield from stores.answers(admin, described, {})
        for words in (
            ("status", "--json"),
            ("jobs", "--json"),
            ("jobs",),
            ("audit", "--json"),
            ("vault", "list"),
            ("vault", "doctor"),
        ):
            done = self._command(*words)
            yield f"easyalert-agent {' '.join(words)}", (done.stdout + done.stderr).encode()

    def _redis(self) -> Iterator[tuple[str, bytes]]:
        yield from stores.redis_keys(self.admin_redis)
        yield from stores.redis_logs(self.admin_redis)
        self.admin_redis.save()
        yield "redis MONITOR", "\n".join(self.monitored).encode()
        yield from stores.files(self.flight.folder / "redis")

    def _dump_cores(self) -> None:
        """Signals whose default is a core file, to one process of each kind; supervisord starts them again."""
        workers = psutil.Process(self.agent.programs()["workers"]).children()
        victims = {"worker": workers[-1].pid}
        victims |= {
            name: pid for name, pid in self.agent.programs().items() if name in {"heartbeat", "poller", "admin"}
        }
        for name, pid in victims.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSEGV)
                self.flight.cored.append(name)
        for pid in victims.values():
            eventually(lambda pid=pid: not psutil.pid_exists(pid), within=60, what=f"{pid} gone")
        eventually(lambda: len(self.agent.programs()) == 4, within=60, what="programs started again")

    def _rotate(self) -> None:
        """A new key, the former one beside it; and the Redis that the agent makes for itself."""
        answer = self.plane.api.post(f"/agents/{self.agent_id}/regenerate-key", json={"overlapSeconds": 300})
        new = self.secrets.adopt("API key after the rotation", answer.json()["data"]["apiKey"])
        next_file = self.flight.hidden / "next"
        next_file.write_text(new)
        assert self._command("vault", "rekey", "--key-file", str(next_file)).returncode == 0
        self.watch.stop()
        self.flight.findings += self.watch.findings.values()
        assert self.agent.stop() == 0
        self.agent.environment |= {"AGENT_API_KEY": new, "AGENT_API_KEY_PREVIOUS": self.key}
        del self.agent.environment["REDIS_URL"]
        self.key = new
        self.agent.start()
        # every program, the embedded Redis included, has said that it runs
        eventually(self._embedded, within=60, what="the agent running with its own Redis")
        eventually(self._online, within=60, what="the agent online again")
        self.watch = Watch(Search(self.secrets))
        job_id, job = next(
            (job_id, job) for job_id, job in self.flight.jobs if job.credential and job.ends == "success"
        )
        connection = self.flight.ended[job_id]["connectionId"]
        again = self.plane.submit(job.action, job.params, connectionId=connection)
        self.flight.jobs.append((again, job))
        self.flight.ended[again] = self.plane.wait(again, timeout=60)

    def _embedded(self) -> bool:
        with contextlib.suppress(Exception):
            return len(self.agent.programs()) == 5
        return False

    def _land(self) -> None:
        run = self.agent.state_dir / "run"
        password = (run / "redis_password").read_text()
        with Redis(unix_socket_path=str(run / "redis.sock"), username="agent", password=password) as client:
            self.flight.search(stores.redis_keys(client), agents=True)
        self.flight.search(self._answers([again for again, _ in self.flight.jobs[-1:]]))
        database = self.flight.folder / "cp" / "controlplane.sqlite3"
        self.flight.search(stores.rows(database))
        self.flight.search(stores.copies(database, self.flight.folder / "copies"))
        self.flight.findings += self.watch.stop()
        assert self.plane.process is not None
        self.plane.process.send_signal(signal.SIGABRT)
        self.plane.process.wait(20)
        self.flight.cored.append("control plane")
        self.agent.stop()
        self.flight.search(stores.files(self.flight.folder / "agent"), agents=True)
        self.flight.search(stores.files(self.flight.folder))
        self.flight.search(stores.rows(self.agent.state_dir / "journal.sqlite3"), agents=True)
