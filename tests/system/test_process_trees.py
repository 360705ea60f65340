"""Whoever dies or is stopped: nothing that a job has started lives three seconds later.

Six trees run at once as jobs of a real agent, bombs included, and one thing happens. Told by the trees' own witness
(tests/support/growing.py) and by a look at every process's environment, neither of which the agent's search knows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from easyalert.cgroups import Group, find_place
from easyalert.journal import Journal
from easyalert.runtime import monotonic_ms
from tests.support.accounts import OTHER_ACCOUNT, SCRIPTS_ACCOUNT, as_another_account, possible
from tests.support.growing import KINDS, LIFE_S, Tree, all_begun, all_gone
from tests.support.stack import Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

log = logging.getLogger(__name__)

GONE_WITHIN_S = 3.0
"""The promise."""
SLACK_S = 5.0
"""For a busy machine; the trees live much longer. How long it really took is logged, and docs/faults.md says it."""
STARTING_S = 7.0
"""Where nobody of the agent is left, its next start ends the trees: until it has loaded Python and its libraries there
is nobody who could. That takes 2 s, and several while a hopper and two bombs have the machine."""
GRACE_S = 2
"""CANCEL_GRACE_SECONDS here."""
PROCESSES_MAX = 10_000
"""For all of the agent and its jobs, where this test may set a limit: above what the trees make of themselves."""


class Site:
    """An agent that runs six trees, as it comes or where it finds no control groups, isolated in each way there is."""

    def __init__(self, folder: Path, way: str) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder)
        created = self.plane.create_agent("one")
        (folder / "one").mkdir()
        self.agent = Agent(
            folder / "one", self.plane.url, created["apiKey"],
            MAX_CONCURRENT_JOBS=str(len(KINDS)), CANCEL_GRACE_SECONDS=str(GRACE_S),
            # as root and without groups nothing holds a tree back that grows: the worst case
            SCRIPT_MAX_PROCESSES="0" if way.endswith("no-groups") else "256",
            SCRIPT_ISOLATION=_ISOLATION[way],
            # not those of this test's account: another one cannot run them
            PATH="/usr/local/bin:/usr/bin:/bin",
        )  # fmt: skip
        folder.chmod(0o755)
        self.fence = _fence(folder)
        self.agent.prefix = _within(self.fence) + _PREFIXES[way]()
        if way.startswith("account"):
            for path in (folder, folder / "one"):
                os.chown(path, OTHER_ACCOUNT, OTHER_ACCOUNT)
        self.agent.start()
        self.trees: list[Tree] = []
        self.keys: list[str] = []
        self.ids: list[str] = []

    def online(self) -> bool:
        found = self.plane.api.get("/agents").json()["data"]
        return bool(found[0]["status"] == "online")

    def plant(self, timeout_s: int = 60) -> None:
        """Start all trees, and wait until they are there."""
        for number, kind in enumerate(KINDS):
            tree = Tree(self.folder, kind)
            self.trees.append(tree)
            self.ids.append(self.plane.submit("script.python", {**tree.parameters, "timeout": timeout_s}))
            eventually(lambda tree=tree: tree.look() or tree.begun, within=60, what=f"{kind}, tree {number}")
        assert all_begun(self.trees)

    @contextlib.contextmanager
    def planted(self, timeout_s: int = 60) -> Iterator[None]:
        try:
            self.plant(timeout_s)
            yield
        finally:
            begun = [tree for tree in self.trees if tree.begun]
            eventually(lambda: all_gone(begun), within=LIFE_S + 5, what="the trees' own end")
            for tree in self.trees:
                tree.close()
            self.trees.clear()
            self.ids.clear()

    def started(self) -> dict[str, float]:
        """Job → when its row says that it started, on the monotonic clock."""
        offset = time.monotonic() - monotonic_ms() / 1000
        with Journal(self.agent.state_dir / "journal.sqlite3") as journal:
            return {row.job_id: (row.started_ms or 0) / 1000 + offset for row in journal.latest(50)}

    def pool(self) -> psutil.Process:
        def find() -> int | None:
            with contextlib.suppress(OSError, xmlrpc.client.Error):
                return self.agent.programs().get("workers")
            return None

        return psutil.Process(eventually(find, within=60, what="the pool"))

    def forks(self) -> list[psutil.Process]:
        pool = self.pool()
        return [child for child in pool.children() if child.cmdline() == pool.cmdline()]

    def marked(self) -> list[int]:
        """Processes whose environment says that they are a job's of this agent."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                homes = tuple(f"HOME={place}/".encode() for place in (self.agent.state_dir, *self._scripts_places()))
                ours = any(entry.startswith(homes) for entry in environment)
                if ours and any(entry.startswith(b"EASYALERT_JOB=") for entry in environment):
                    found.append(pid)
        return found

    def _scripts_places(self) -> list[Path]:
        """Where scripts of another account have their folders."""
        return list(Path(tempfile.gettempdir()).glob("easyalert-scripts-*"))

    def judge(
        self,
        since: Callable[[Tree], float],
        what: str,
        *,
        starting_s: float = 0.0,
    ) -> None:
        """All trees gone in time after the moment that `since` gives for each."""
        with contextlib.suppress(AssertionError):
            eventually(lambda: all_gone(self.trees), within=LIFE_S, what="all trees gone")
        times = {t.kind: None if t.gone_at is None else round(t.gone_at - since(t), 2) for t in self.trees}
        log.info("%s: %s", what, times)
        assert all(took is not None and took <= GONE_WITHIN_S + SLACK_S + starting_s for took in times.values()), times
        assert self.marked() == []

    def close(self) -> None:
        try:
            self.agent.stop()
        finally:
            self.plane.stop()
            self.plane.api.close()
            if self.fence is not None:
                eventually(self.fence.remove, within=5, what="the fence removed")


def _fence(folder: Path) -> Group | None:
    """A limit around everything, so that not even a mistake in here reaches the machine."""
    place = find_place()
    if place is None:
        return None
    fence = Group(place.folder / folder.name)
    fence.make(PROCESSES_MAX)
    return fence


def _within(fence: Group | None) -> tuple[str, ...]:
    if fence is None:
        return ()
    return ("sh", "-c", f'echo 0 > {fence.folder}/cgroup.procs && exec "$@"', "sh")


def _without_groups() -> tuple[str, ...]:
    """Nothing is to be found where they are mounted; an account that could not use them anyway sees no difference."""
    if find_place() is None:
        return ()
    return ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh")


_PREFIXES: dict[str, Callable[[], tuple[str, ...]]] = {
    "groups": tuple,
    "no-groups": _without_groups,
    "account": as_another_account,
    "userns": tuple,
    "account-userns": as_another_account,
    "user-no-groups": _without_groups,
}
_ISOLATION = {
    "groups": "none",
    "no-groups": "none",
    "account": "none",
    "userns": "userns",
    "account-userns": "userns",
    "user-no-groups": f"user:{SCRIPTS_ACCOUNT}",
}


def _ways() -> list[str]:
    """Who is not root, or may not change accounts, sees how it is for this account only."""
    return list(_PREFIXES) if possible(*as_another_account()) else ["groups", "no-groups"]


@pytest.fixture(scope="module", params=_ways())
def site(request):
    folder = Path(tempfile.mkdtemp(prefix="ea-trees-", dir="/tmp"))
    site = Site(folder, request.param)
    try:
        eventually(site.online, within=60, what="the agent online")
        yield site
    finally:
        site.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_time_out_ends_them(site):
    with site.planted(timeout_s=6):
        ids = dict(zip((tree.kind for tree in site.trees), site.ids, strict=True))
        started = site.started()
        site.judge(lambda tree: started[ids[tree.kind]] + 6, "time-out")
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "timed_out"


def test_a_request_to_cancel_ends_them_after_their_grace(site):
    with site.planted():
        asked = {}
        for tree, job_id in zip(site.trees, site.ids, strict=True):
            asked[tree.kind] = time.monotonic()
            assert site.plane.api.post(f"/jobs/{job_id}/cancel").status_code == 202
        site.judge(lambda tree: asked[tree.kind] + GRACE_S, "cancel")
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "cancelled"


def test_the_death_of_their_workers_ends_them(site):
    with site.planted():
        moment = time.monotonic()
        for process in site.forks():  # the bookkeeper among them
            process.kill()
        site.judge(lambda _: moment, "workers killed")
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "in_doubt"


def test_the_death_of_the_pool_ends_them(site):
    with site.planted():
        pool = site.pool()
        moment = time.monotonic()
        pool.kill()
        site.judge(lambda _: moment, "pool killed")
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "in_doubt"


def test_the_death_of_supervisord_ends_them(site):
    with site.planted():
        moment = time.monotonic()
        site.agent.stop(signal.SIGKILL)
        site.judge(lambda _: moment, "supervisord killed")
        eventually(lambda: not _port_taken(site.agent.admin_port), what="the programs' end")
        site.agent.start()
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "in_doubt"


def test_the_next_start_ends_what_a_dead_machine_has_left(site):
    with site.planted():
        assert site.agent.process is not None
        supervisor = psutil.Process(site.agent.process.pid)
        family = [supervisor, *supervisor.children(), *site.forks()]
        for process in family:  # stopped first, so that none of them can do anything about the others' death
            process.suspend()
        for process in reversed(family):  # a group whose last parent outside dies is continued by the kernel
            process.kill()
        site.agent.process.wait()
        assert not all_gone(site.trees), "somebody else has ended them: nothing is shown"
        eventually(lambda: not _port_taken(site.agent.admin_port), what="the programs' end")
        moment = time.monotonic()
        site.agent.start()
        site.judge(lambda _: moment, "all killed, then started", starting_s=STARTING_S)
        for job_id in site.ids:
            assert site.plane.wait(job_id)["status"] == "in_doubt"


def test_nothing_of_all_that_is_left(site):
    """Runs last: groups of workers that died are gone, those of living ones are there."""
    place = find_place()
    if place is None or site.fence is None:
        assert site.marked() == []
        return
    folders = [path for path in site.fence.folder.iterdir() if path.is_dir()]
    living = {process.pid for process in site.forks()}
    assert {int(path.name.rpartition("-")[2].partition(".")[0]) for path in folders} <= living


def _port_taken(port: int) -> bool:
    done = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())
