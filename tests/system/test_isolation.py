"""What a script can reach of the agent that runs it, tried on real agents: every way of SCRIPT_ISOLATION, as root and as
an account of its own. docs/isolation.md has the outcome as a table, and this holds the two together.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.docs.isolation_table import table
from tests.support import probes
from tests.support.accounts import (
    OTHER_ACCOUNT,
    RIGHTS_OF_USER_MODE,
    SCRIPTS_ACCOUNT,
    as_another_account,
    possible,
    without_user_namespaces,
)
from tests.support.probes import Facts
from tests.support.require import missing
from tests.support.stack import BIN, Agent, ControlPlane
from tests.support.waiting import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where every account finds its programs, whatever the tests' own PATH is."""


@dataclass(frozen=True)
class Way:
    """An agent to be made."""

    asked: str
    account: bool = False
    """Of an account of its own instead of root."""
    prefix: tuple[str, ...] = ()
    mode: str = ""
    column: str = ""
    """Of the table in docs/isolation.md."""


WAYS = {
    "userns-root": Way("userns", mode="userns", column="userns"),
    "userns-account": Way("userns", account=True, prefix=as_another_account(), mode="userns", column="userns"),
    "user-root": Way(f"user:{SCRIPTS_ACCOUNT}", mode="user", column="user"),
    "user-account": Way(
        f"user:{SCRIPTS_ACCOUNT}",
        account=True,
        prefix=as_another_account(*RIGHTS_OF_USER_MODE, no_new_privileges=False),
        mode="user",
        column="user",
    ),
    "none-root": Way("none", mode="none", column="none, as root"),
    "none-account": Way(
        "none", account=True, prefix=as_another_account(), mode="none", column="none, an account of its own"
    ),
}


class Site:
    """A control plane and one agent of the wanted kind, with its settings in a `.env` of its own."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.folder = Path(tempfile.mkdtemp(prefix="ea-iso-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.plane = ControlPlane(self.folder)
        created = self.plane.create_agent("one")
        self.agent_id, self.key = str(created.get("agentId") or created["id"]), str(created["apiKey"])
        home = self.folder / "one"
        home.mkdir()
        self.agent = Agent(home, self.plane.url, self.key, SCRIPT_ISOLATION=way.asked, PATH=PATH)
        self.agent.prefix = way.prefix
        self.configuration = home / ".env"
        self.configuration.write_text(f"AGENT_API_KEY={self.key}\n")
        self.configuration.chmod(0o600)
        if way.account:
            for path in (home, self.configuration):
                os.chown(path, OTHER_ACCOUNT, OTHER_ACCOUNT)
        (self.folder / "cp").chmod(0o700)
        self.agent.start()

    def ready(self) -> bool:
        found = self.plane.agent(self.agent_id)
        return found["status"] in {"online", "degraded"} and found["scriptIsolation"] is not None

    def facts(self) -> Facts:
        assert self.agent.process is not None
        family = psutil.Process(self.agent.process.pid)
        # Foreign programs apart (Redis, which knows ids only, and the `cat` that hands on the log): nobody can close
        # the memory of another program, and the page says so
        python = family.exe()
        pids = [process.pid for process in (family, *family.children(recursive=True)) if process.exe() == python]
        return Facts(str(self.agent.state_dir), str(self.configuration), self.key, tuple(pids))

    def run(self, script: str, action: str = "script.python") -> dict:
        return dict(self.plane.wait(self.plane.submit(action, {"script": script}))["result"])

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.way.prefix, str(BIN / "easyalert-agent"), *words],
            env=self.agent.environment, cwd=self.agent.folder, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def close(self) -> None:
        try:
            self.agent.stop()
        finally:
            self.plane.stop()
            self.plane.api.close()
            shutil.rmtree(self.folder, ignore_errors=True)


def made(way: Way) -> Site:
    if os.geteuid() != 0 or (way.prefix and not possible(*way.prefix)):
        missing("this test starts agents of several accounts, and so has to be root")
    site = Site(way)
    try:
        eventually(site.ready, within=40, what="the agent online and its isolation known")
    except BaseException:
        site.close()
        raise
    return site


@pytest.fixture(scope="module", params=list(WAYS))
def site(request):
    site = made(WAYS[request.param])
    # something to be found in every place
    stored = subprocess.run(
        [*site.way.prefix, str(BIN / "easyalert-agent"), "vault", "set", "web-db"],
        input='{"password": "of no use"}', env=site.agent.environment, cwd=site.agent.folder,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert stored.returncode == 0, stored.stderr
    yield site
    site.close()


def test_the_probes_reach_what_the_page_says_and_the_heartbeat_too(site):
    said = site.plane.agent(site.agent_id)["scriptIsolation"]
    assert (said["mode"], said["asked"]) == (site.way.mode, site.way.asked), said
    reached, told = set(), {}
    for name in probes.NAMES:
        result = site.run(probes.script(name, site.facts()))
        assert result["status"] == "success", (name, result)
        told[name] = result["output"]["stdout"]
        if "REACHED" in told[name]:
            reached.add(name)
    assert reached == table()[site.way.column], told
    assert set(said["exposed"]) == reached


def test_a_script_can_do_its_work(site):
    result = site.run(
        'set -e; pwd; [ "$HOME" = "$PWD" ]; echo x > own; cat own; cat /etc/hostname > /dev/null; id -un || id -u;'
        " ls / > /dev/null; (sleep 60 &) ; ps -e -o comm= | grep -c bash",
        "script.bash",
    )
    assert result["status"] == "success", result
    account = SCRIPTS_ACCOUNT if site.way.mode == "user" else str(OTHER_ACCOUNT) if site.way.account else "root"
    assert account in result["output"]["stdout"].split()


def test_status_shows_it(site):
    found = json.loads(site.command("status", "--json").stdout)["isolation"]
    assert (found["mode"], found["asked"]) == (site.way.mode, site.way.asked)
    assert found["sentence"] in site.command("status").stdout


def test_nothing_is_left_of_a_script(site):
    folder = site.run("import os; print(os.path.dirname(os.getcwd()))")["output"]["stdout"].strip()
    assert folder
    assert not Path(folder).exists()


def test_there_is_no_way_around_the_namespaces(site):
    if site.way.mode != "userns":
        return  # nothing to get around
    code = str(Path(__file__).resolve().parent.parent.parent / "workers")
    result = site.run(probes.around(site.facts(), code))
    assert result["status"] == "success", result
    assert "REACHED" not in result["output"]["stdout"], result["output"]["stdout"]
    assert "process 1 lives" in result["output"]["stdout"]


# ---- where it does not work -----------------------------------------------------------------------------------------


def test_auto_without_user_namespaces_is_none_and_says_what_is_open():
    site = made(Way("auto", prefix=without_user_namespaces()))
    try:
        said = site.plane.agent(site.agent_id)["scriptIsolation"]
        assert (said["mode"], said["asked"]) == ("none", "auto")
        assert "vault" in said["exposed"]
        assert said["reason"].startswith("userns: making namespaces (")
        assert site.run("echo still here", "script.bash")["output"]["stdout"] == "still here\n"
        assert "scripts are not isolated" in site.agent.log.read_text()
        assert "scripts are not isolated: userns:" in site.command("status").stdout
    finally:
        site.close()


@pytest.mark.parametrize(
    ("asked", "prefix", "reason"),
    [
        ("userns", without_user_namespaces(), "userns: making namespaces ("),
        ("user:no-such-account", (), "there is no account no-such-account: sudo useradd"),
        ("user:root", (), "root is root"),
        (f"user:{SCRIPTS_ACCOUNT}", as_another_account(), "run the agent as root, or give its service CAP_CHOWN"),
    ],
)
def test_a_way_that_was_asked_for_and_does_not_work_refuses_scripts(asked, prefix, reason):
    site = made(Way(asked, account=bool(prefix) and prefix[0] == "setpriv", prefix=prefix))
    try:
        result = site.run("echo never", "script.bash")
        assert result["status"] == "error"
        assert f"SCRIPT_ISOLATION={asked} does not work" in result["error"]
        assert reason in result["error"]
        assert result["output"] is None
        found = site.plane.agent(site.agent_id)
        assert found["scriptIsolation"]["mode"] == "refused"
        assert found["status"] == "degraded"
        assert reason in site.agent.log.read_text()
        status = site.command("status")
        assert status.returncode == 4
        assert reason in status.stdout
    finally:
        site.close()
