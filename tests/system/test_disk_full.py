"""The agent's disk is filled to the last byte while jobs run: a real agent on a small file system of its own."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from easyalert.journal.reserve import RESERVE_BYTES
from tests.support.require import missing
from tests.support.stack import BIN, Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DISK_MB = 64
JOBS = 8


def small_disk(place: Path) -> None:
    """A file system in memory at `place`; not root: within a mount namespace of our own."""
    place.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "none", str(place)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        missing(f"no file system can be mounted here ({done.stderr.strip()}); run this test as root")


class Filler(threading.Thread):
    """Takes every byte there is; `greedy`: and every byte that somebody gives back, until `stop`."""

    def __init__(self, folder: Path, *, greedy: bool) -> None:
        super().__init__()
        self._greedy = greedy
        self._path = folder / "filler"
        self._stop_it = threading.Event()
        self.full = threading.Event()

    def run(self) -> None:
        with self._path.open("wb", buffering=0) as file:
            while not self._stop_it.is_set():
                size = 1 << 20
                while size and not self._stop_it.is_set():
                    try:
                        file.write(b"\0" * size)
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        size //= 2
                self.full.set()
                self._stop_it.wait(0.05 if self._greedy else None)

    def stop(self) -> None:
        """And give everything back."""
        self._stop_it.set()
        self.join()
        self._path.unlink()


@contextlib.contextmanager
def filled(folder: Path, *, greedy: bool = True) -> Iterator[Filler]:
    filler = Filler(folder, greedy=greedy)
    filler.start()
    try:
        assert filler.full.wait(60)
        yield filler
    finally:
        filler.stop()


@pytest.fixture
def site() -> Iterator[tuple[ControlPlane, Agent, str]]:
    folder = Path(tempfile.mkdtemp(prefix="ea-disk-", dir="/tmp"))
    plane = ControlPlane(folder)
    created = plane.create_agent("one")
    (folder / "one").mkdir()
    agent = Agent(
        folder / "one", plane.url, created["apiKey"], MAX_CONCURRENT_JOBS=str(JOBS), MIN_FREE_DISK_MB="8"
    )  # fmt: skip
    small_disk(agent.state_dir)
    try:
        agent.start()
        agent_id = str(created.get("agentId") or created["id"])
        eventually(lambda: plane.agent(agent_id)["status"] == "online", within=60, what="the agent online")
        eventually(lambda: reserve(agent) == RESERVE_BYTES, what="the reserve")
        yield plane, agent, agent_id
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.stop()
        plane.stop()
        plane.api.close()
        subprocess.run(["umount", "-l", str(agent.state_dir)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def reserve(agent: Agent) -> int:
    path = agent.state_dir / "reserve"
    return path.stat().st_blocks * 512 if path.exists() else 0


def begin(plane: ControlPlane, gate: Path, output: str) -> list[str]:
    """Jobs that run until `gate` is there, and then print."""
    begun = gate.with_name(f"{gate.name}-begun")
    script = f"echo begun >> {begun}; while [ ! -e {gate} ]; do sleep 0.05; done; {output}"
    ids = [plane.submit("script.bash", {"script": script, "timeout": 120}) for _ in range(JOBS)]
    eventually(lambda: begun.exists() and len(begun.read_text().split()) == JOBS, within=60, what="all jobs running")
    return ids


def command(agent: Agent, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "easyalert-agent"), *words],
        env=agent.environment, capture_output=True, text=True, check=False, cwd=agent.folder, timeout=30,
    )  # fmt: skip


def status(agent: Agent) -> dict[str, object]:
    return dict(json.loads(command(agent, "status", "--json").stdout))


def recorded(agent: Agent) -> set[str]:
    """Jobs whose end has been moved into the audit record."""
    found = json.loads(command(agent, "audit", "--json").stdout)
    return {entry["jobId"] for entry in found if entry["kind"] == "job.ended" and entry["seq"] is not None}


def test_running_jobs_are_answered_for_nothing_is_taken_and_all_is_well_afterwards(site, tmp_path):
    plane, agent, agent_id = site
    ids = begin(plane, tmp_path / "gate", "head -c 300000 /dev/zero | tr '\\0' x; echo; echo last")
    with filled(agent.state_dir):
        (tmp_path / "gate").touch()
        for job_id in ids:
            job = plane.wait(job_id, timeout=40)
            assert job["status"] == "success", job
            assert job["result"]["output"]["stdout"].endswith("last\n")
        eventually(lambda: "full" in str(plane.agent(agent_id).get("components")), within=60, what="the heartbeat")
        assert plane.agent(agent_id)["status"] == "degraded"
        new = plane.submit("script.bash", {"script": "echo new"})
        more = plane.submit("script.bash", {"script": "echo more"})
        problems = json.dumps(status(agent)["problems"])
        assert "no new jobs are taken" in problems, problems
        assert plane.job(new)["status"] in {"pending", "dispatched"}
        assert plane.job(more)["status"] in {"pending", "dispatched"}
    for job_id in (new, more):
        assert plane.wait(job_id, timeout=90)["status"] == "success"
    eventually(lambda: reserve(agent) == RESERVE_BYTES, within=60, what="the reserve made again")
    eventually(lambda: plane.agent(agent_id)["status"] == "online", within=60, what="the agent well again")
    assert agent.process is not None
    assert agent.process.poll() is None, "it was not started again"
    eventually(lambda: recorded(agent) >= {*ids, new, more}, within=60, what="the ends of all jobs in the record")
    assert command(agent, "audit", "verify").returncode == 0


def test_what_is_too_large_for_the_rest_is_recorded_cut(site, tmp_path):
    """8 results of 2 MB are more than what is kept for them, and whoever fills the disk is as quick as the agent."""
    plane, agent, _ = site
    big = "head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2; echo last"
    ids = begin(plane, tmp_path / "gate", big)
    with filled(agent.state_dir):
        (tmp_path / "gate").touch()
        jobs = [plane.wait(job_id, timeout=60) for job_id in ids]
    assert {job["status"] for job in jobs} == {"success"}
    shortened = [job for job in jobs if job["result"]["output"]["truncated"]]
    assert shortened
    for job in shortened:
        assert "disk was full" in job["result"]["error"]
        assert job["result"]["output"]["stdout"].endswith("last\n")
        assert job["result"]["output"]["originalStdoutSize"] == 1_000_005
        assert job["result"]["output"]["originalStderrSize"] == 1_000_000


def test_results_are_delivered_by_an_agent_that_starts_on_a_full_disk(site, tmp_path):
    plane, agent, _ = site
    ids = begin(plane, tmp_path / "gate", "echo done")
    plane.stop(signal.SIGKILL)
    (tmp_path / "gate").touch()
    eventually(lambda: dict(status(agent)["jobs"])["undelivered"] == JOBS, within=60, what="results in the outbox")  # type: ignore[call-overload] - JSON
    agent.stop(signal.SIGKILL)
    eventually(lambda: not _alive(agent), within=60, what="the programs' end")
    plane.start()
    with filled(agent.state_dir, greedy=False):
        agent.start()
        for job_id in ids:
            assert plane.wait(job_id, timeout=60)["status"] == "success"


def _alive(agent: Agent) -> bool:
    wanted = f"STATE_DIR={agent.state_dir}".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                return True
    return False
