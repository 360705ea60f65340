"""Every place where a program, a machine, Redis, the journal or the network can end between two steps of delivery.

A real control plane and real agents; the programs die where `easyalert.crashpoints` says. What takes a lease or a
silence of a minute is begun first and looked at last.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError
from supervisor.xmlrpc import SupervisorTransport

from easyalert.errors import QueueError
from easyalert.journal import JobRow, Journal, State
from easyalert.queues import agent_queue, connect, queued_keys
from easyalert.settings import AgentSettings
from tests.support.agent_home import API_KEY
from tests.support.extended_server import ExtendedServer
from tests.support.stack import Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SOON_S = 5.0
"""What the promises give: enqueued again, or in doubt, within this time."""
SLACK_S = 25.0
"""For a slow machine: starting a program and the way to the control plane and back are no part of the promise. Nothing else
than what was promised would do it in this time: leases and silences are 60 s."""


class Site:
    """A control plane, agents, one file that says where to die next, and one that effects are counted in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.crash_at = folder / "crash-at"
        self.plane = ControlPlane(folder, EASYALERT_CRASH_AT=str(self.crash_at))
        self.agents: list[Agent] = []
        self.ids: dict[str, str] = {}
        self.frozen: list[int] = []
        """Processes stopped (SIGSTOP)."""
        self.agent = self.add("one", crashes=True)

    def add(self, name: str, pool: str = "default", *, crashes: bool = False, **environment: str) -> Agent:
        created = self.plane.create_agent(name, pool)
        self.ids[name] = str(created["id"] if "id" in created else created["agentId"])
        folder = self.folder / name
        folder.mkdir()
        if crashes:
            environment["EASYALERT_CRASH_AT"] = str(self.crash_at)
        agent = Agent(folder, self.plane.url, created["apiKey"], SCRIPT_ISOLATION="none", **environment)
        self.agents.append(agent)
        return agent.start()

    def record(self, name: str) -> Path:
        return self.folder / f"effects-{name}"

    def count(self, name: str) -> int:
        """Of effects."""
        file = self.record(name)
        return len(file.read_text().split()) if file.exists() else 0

    def submit(self, name: str, script: str = "", *, timeout: int | None = None, **more: Any) -> str:
        """A job whose effect is one word in its record, then `script`."""
        params: dict[str, Any] = {"script": f"echo x >> {self.record(name)}\n{script}"}
        if timeout is not None:
            params["timeout"] = timeout
        return self.plane.submit("script.bash", params, **more)

    def at(self, point: str) -> None:
        """The next program that reaches this point dies there."""
        self.crash_at.write_text(point)

    def died(self, within: float = 20.0) -> None:
        eventually(lambda: self.crash_at.read_text() == "", within=within, what="a program reached its crash point")

    def plane_died(self) -> None:
        """And is started again."""
        self.died()
        assert self.plane.process.wait(30) == -signal.SIGKILL
        self.plane.start()

    def journal(self, agent: Agent | None = None) -> Journal:
        return Journal((agent or self.agent).state_dir / "journal.sqlite3")

    def row(self, job_id: str) -> JobRow:
        with self.journal() as journal:
            (row,) = journal.find(job_id)
        return row

    def executed(self) -> int:
        with self.journal() as journal:
            return journal.figures().executed

    def thaw(self) -> None:
        for pid in self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.frozen.clear()

    def stop(self) -> None:
        self.thaw()
        for agent in self.agents:
            if agent.process is not None and agent.process.poll() is None:
                agent.process.send_signal(signal.SIGTERM)
        for agent in self.agents:
            agent.stop()
        self.plane.stop()
        self.plane.api.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.stop()


def running(command: str) -> list[str]:
    """Processes with this command line."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if file.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() == command:
                found.append(file.parent.name)
    return found


def power_off(agent: Agent) -> None:
    """All of an agent dies at once, and nobody says goodbye."""
    family = [agent.process.pid]
    for pid in family:
        # stopped first, from the root on: nobody starts anything again, and no worker sees its job's script die
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGSTOP)
            for task in Path(f"/proc/{pid}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    agent.process.wait()


# ---- begun first, looked at last ------------------------------------------------------------------------------------


class Slow:
    """Three agents whose fate takes a lease or a silence: 60 s."""

    def __init__(self, site: Site) -> None:
        self.site = site
        plane = site.plane
        for pool in ("lease", "deleted", "parted"):
            plane.api.put(f"/pools/{pool}", json={"lostAfterSeconds": 60}).raise_for_status()
        self.leaver = site.add("leaver", "lease", EASYALERT_CRASH_AT="journalled")
        deleted = site.add("deleted", "deleted", HEARTBEAT_INTERVAL="1")
        parted = site.add("parted", "parted", HEARTBEAT_INTERVAL="1")
        eventually(
            lambda: plane.agent(site.ids["leaver"])["status"] == "online", within=60, what="the leaver is online"
        )
        # else its supervisord would start the poller again, which may acknowledge before everything is off
        os.kill(self.leaver.process.pid, signal.SIGSTOP)
        self.untaken = site.submit("untaken", poolId="lease")
        self.deleted = site.submit("deleted", "sleep 8", timeout=9, poolId="deleted")
        self.parted = site.submit("parted", "sleep 4", timeout=8, poolId="parted")
        eventually(self._journalled, within=60, what="in the leaver's journal")
        self.offered_at = time.monotonic()
        power_off(self.leaver)
        site.add("taker", "lease")
        eventually(lambda: plane.job(self.parted)["status"] == "running", within=60, what="parted runs")
        site.frozen = [parted.programs()[name] for name in ("poller", "heartbeat")]
        for pid in site.frozen:
            os.kill(pid, signal.SIGSTOP)
        eventually(lambda: plane.job(self.deleted)["status"] == "running", within=60, what="deleted runs")
        power_off(deleted)
        for file in deleted.state_dir.glob("journal.sqlite3*"):
            file.unlink()
        deleted.start()

    def _journalled(self) -> bool:
        path = self.leaver.state_dir / "journal.sqlite3"
        if not path.exists():
            return False
        with self.site.journal(self.leaver) as journal:
            return [row.state for row in journal.find(self.untaken)] == [State.TAKEN]


@pytest.fixture(scope="module", autouse=True)
def slow(site: Site) -> Slow:
    return Slow(site)


# ---- before the effect: it runs once, nobody notices ----------------------------------------------------------------


@pytest.mark.parametrize("point", ["offered", "journalled", "permitted", "queued", "popped"])
def test_an_agents_program_dies_before_the_fence(site: Site, point: str):
    site.at(point)
    job_id = site.submit(point)
    site.died()
    died_at = time.monotonic()
    job = site.plane.wait(job_id)
    assert time.monotonic() - died_at < SOON_S + SLACK_S
    assert (job["status"], job["attempt"], site.count(point)) == ("success", 1, 1)


@pytest.mark.parametrize("point", ["claimed", "acknowledged"])
def test_the_control_plane_dies_before_it_answers(site: Site, point: str):
    site.at(point)
    job_id = site.submit(point)
    site.plane_died()
    job = site.plane.wait(job_id, timeout=60)
    assert (job["status"], job["attempt"], site.count(point)) == ("success", 1, 1)


# ---- from the fence to the record: in doubt, unless it may be repeated ----------------------------------------------


@pytest.mark.parametrize(("point", "effects"), [("fenced", 0), ("over", 1)])
def test_a_worker_dies_around_the_effect(site: Site, point: str, effects: int):
    site.at(point)
    job_id = site.submit(point)
    site.died()
    died_at = time.monotonic()
    job = site.plane.wait(job_id)
    assert time.monotonic() - died_at < SOON_S + SLACK_S
    assert (job["status"], job["attempt"], site.count(point)) == ("in_doubt", 1, effects)


def test_a_worker_dies_during_the_effect_and_nothing_of_its_job_lives_on(site: Site):
    mark = f"sleep 98{os.getpid()}"
    job_id = site.submit("during", f"({mark} & {mark} & setsid {mark} &)\nkill -9 $PPID\nsleep 60")
    eventually(lambda: site.count("during"), what="the effect")
    died_at = time.monotonic()
    assert site.plane.wait(job_id)["status"] == "in_doubt"
    assert time.monotonic() - died_at < SOON_S + SLACK_S
    assert running(mark) == []
    assert site.count("during") == 1


@pytest.mark.parametrize("point", ["fenced", "over"])
def test_what_may_be_repeated_is_repeated(site: Site, point: str):
    site.at(point)
    job_id = site.submit(f"again-{point}", idempotent=True)
    site.died()
    job = site.plane.wait(job_id)
    assert (job["status"], job["attempt"]) == ("success", 1)
    assert site.count(f"again-{point}") == {"fenced": 1, "over": 2}[point]


def test_three_deaths_are_poison(site: Site):
    job_id = site.submit("poison", "kill -9 $PPID\nsleep 60", idempotent=True)
    job = site.plane.wait(job_id)
    assert (job["status"], site.count("poison")) == ("error", 3)
    assert "poison" in job["result"]["error"]


def test_a_whole_machine_dies_during_the_effect(site: Site):
    job_id = site.submit("machine", "sleep 60")
    eventually(lambda: site.count("machine"), what="the effect")
    power_off(site.agent)
    site.agent.start()
    began = time.monotonic()
    assert site.plane.wait(job_id)["status"] == "in_doubt"
    assert time.monotonic() - began < SOON_S + SLACK_S
    assert site.count("machine") == 1


# ---- after the record: delivered once, counted once -----------------------------------------------------------------


@pytest.mark.parametrize("point", ["done", "reporting", "recorded", "answered"])
def test_a_result_is_delivered_and_counted_once(site: Site, point: str):
    before = site.executed()
    site.at(point)
    job_id = site.submit(point)
    if point == "recorded":
        site.plane_died()
    else:
        site.died()
    job = site.plane.wait(job_id, timeout=60)
    assert (job["status"], job["attempt"], site.count(point)) == ("success", 1, 1)
    assert len(job["attempts"]) == 1
    eventually(lambda: site.row(job_id).state is State.ACKED, within=60, what="the outbox is empty")
    assert site.executed() - before == 1


# ---- Redis ----------------------------------------------------------------------------------------------------------


def stop_redis(agent: Agent) -> int:
    """Its pid, stopped: what is done to its files now, it sees after its restart only."""
    pid = agent.programs()["redis"]
    os.kill(pid, signal.SIGSTOP)
    return pid


def killed(agent: Agent) -> None:
    os.kill(agent.programs()["redis"], signal.SIGKILL)


def torn(agent: Agent) -> None:
    pid = stop_redis(agent)
    for file in (agent.state_dir / "redis").rglob("*.aof"):
        if file.stat().st_size > 20:
            os.truncate(file, file.stat().st_size - 9)
    os.kill(pid, signal.SIGKILL)


def spoilt(agent: Agent) -> None:
    pid = stop_redis(agent)
    for file in (agent.state_dir / "redis").rglob("*.incr.aof"):
        file.write_bytes(b"*2\r\n$6\r\nnonsense" * 100)
    os.kill(pid, signal.SIGKILL)


def emptied(agent: Agent) -> None:
    pid = stop_redis(agent)
    for entry in (agent.state_dir / "redis").iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    os.kill(pid, signal.SIGKILL)


def flushed(agent: Agent) -> None:
    with redis_of(agent) as client:
        for key in client.scan_iter():
            client.delete(key)


def redis_of(agent: Agent) -> Any:
    return connect(
        AgentSettings(_env_file=None, state_dir=agent.state_dir, agent_api_url="http://localhost", agent_api_key="k")
    )


def supervisor(agent: Agent) -> xmlrpc.client.ServerProxy:
    socket = agent.state_dir / "run" / "supervisor.sock"
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{socket}"))


@pytest.mark.parametrize(
    ("fault", "within"),
    # files it does not start with are set aside when it has failed twice
    [(killed, SOON_S), (flushed, SOON_S), (torn, SOON_S), (emptied, SOON_S), (spoilt, 20.0)],
)
def test_what_redis_loses_is_put_back(site: Site, fault: Callable[[Agent], None], within: float):
    name = f"redis-{fault.__name__}"
    agent = site.agent

    def in_redis() -> bool:
        with contextlib.suppress(RedisError, QueueError, OSError), redis_of(agent) as client:
            return job_id in queued_keys(agent_queue(client))
        return False

    with supervisor(agent) as proxy:
        proxy.supervisor.stopProcess("agent:workers")  # so that the key stands in Redis when the fault comes
        job_id = site.submit(name)
        eventually(in_redis, what="the key in Redis")
        fault(agent)
        eventually(in_redis, within=within + SLACK_S, what="the key in Redis again")
        proxy.supervisor.startProcess("agent:workers", False)
    job = site.plane.wait(job_id)
    assert (job["status"], job["attempt"], site.count(name)) == ("success", 1, 1)


# ---- the network, the journal, the whole control plane --------------------------------------------------------------


def test_a_job_delivered_three_times_runs_once(site: Site):
    """To an agent of a server that repeats itself: while it runs, and when it has ended."""
    server = ExtendedServer(long_poll_seconds=1)
    folder = site.folder / "thrice"
    folder.mkdir()
    agent = Agent(folder, server.url, API_KEY)
    script = f"echo x >> {site.record('thrice')}; sleep 1"
    job = {"jobId": "job_thrice", "actionType": "script.bash", "connectionId": None, "params": {"script": script}}
    try:
        server.give(job)
        agent.start()
        eventually(lambda: site.count("thrice"), within=60, what="the effect")
        server.give(job)
        server.wait_for(lambda: server.results.get("job_thrice"), within=60)
        server.give(job)
        results = server.wait_for(lambda: len(found := server.results["job_thrice"]) > 1 and found, within=60)
    finally:
        agent.stop()
        server.close()
    assert site.count("thrice") == 1
    told = [{name: value for name, value in result.items() if name != "timings"} for result in results]
    assert told[0] == told[-1], "the stored result is sent again"
    assert told[0]["status"] == "success"
    assert server.violations == []


def test_what_ends_while_the_control_plane_is_away_is_delivered_when_it_is_back(site: Site):
    names = [f"away-{number}" for number in range(5)]
    ids = [site.submit(name, f"while [ ! -e {site.folder}/away ]; do sleep 0.1; done") for name in names]
    eventually(lambda: all(site.count(name) for name in names), within=60, what="five jobs run")
    site.plane.stop(signal.SIGKILL)
    (site.folder / "away").touch()
    eventually(lambda: {site.row(job_id).state for job_id in ids} == {State.DONE}, what="five results wait")
    time.sleep(3)  # long enough that the agent tries in vain
    site.plane.start()
    began = time.monotonic()
    jobs = [site.plane.wait(job_id, timeout=60) for job_id in ids]
    assert time.monotonic() - began < 60
    assert [job["status"] for job in jobs] == ["success"] * 5
    assert [site.count(name) for name in names] == [1] * 5


def test_an_agent_with_a_damaged_journal_sets_it_aside_and_works(site: Site):
    job_id = site.submit("before-damage", "sleep 60")
    eventually(lambda: site.count("before-damage"), within=60, what="the effect")
    power_off(site.agent)
    journal = site.agent.state_dir / "journal.sqlite3"
    journal.write_bytes(b"no journal any more " * 4096)
    site.agent.start()
    assert site.plane.wait(site.submit("after-damage"))["status"] == "success"
    assert list(site.agent.state_dir.glob("journal.sqlite3.damaged-*"))
    assert site.plane.job(job_id)["status"] in {"accepted", "running", "in_doubt"}, "never a success, never again"
    assert site.count("before-damage") == 1


# ---- what was begun first -------------------------------------------------------------------------------------------


def test_a_hand_out_nobody_acknowledges_goes_to_another_agent_after_its_lease(site: Site, slow: Slow):
    job = site.plane.wait(slow.untaken, timeout=150)
    assert time.monotonic() - slow.offered_at >= 50, "the lease was kept"
    assert (job["status"], job["attempt"], site.count("untaken")) == ("success", 2, 1)
    assert job["agentId"] == site.ids["taker"]
    # whoever was offered it first comes back and asks: it is refused, and forgotten
    del slow.leaver.environment["EASYALERT_CRASH_AT"]
    slow.leaver.start()
    with site.journal(slow.leaver) as journal:
        eventually(lambda: journal.find(slow.untaken) == [], within=60, what="the refused job is dropped")
    assert site.count("untaken") == 1


def test_what_an_agent_held_in_a_journal_that_is_gone_becomes_in_doubt(site: Site, slow: Slow):
    job = site.plane.wait(slow.deleted, timeout=150)
    assert (job["status"], job["attempt"], site.count("deleted")) == ("in_doubt", 1, 1)


def test_a_result_that_comes_after_the_judgement_replaces_it(site: Site, slow: Slow):
    assert site.plane.wait(slow.parted, timeout=120)["status"] == "in_doubt"
    site.thaw()
    eventually(lambda: site.plane.job(slow.parted)["status"] == "success", within=60, what="the late result")
    assert site.plane.job(slow.parted)["attempt"] == site.count("parted") == 1
