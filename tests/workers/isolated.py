"""A state directory to keep scripts from, and scripts run under what `find_isolation` finds for it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psutil
import pytest

from easyalert.hardening import become_subreaper
from easyalert.settings import AgentSettings
from workers import confinement, trees
from workers.executors.script import Script
from workers.isolation import Isolation
from workers.isolation_trial import find_isolation
from workers.limits import Limits
from workers.sdk.harness import Harness

_servers: list[int] = []


def left() -> set[trees.Member]:
    """What is below this process, without the servers that other tests have running when `home` is made."""
    return trees.orphans(_servers)


@pytest.fixture
def home(monkeypatch):
    """A state directory with something in it, and a working directory with a `.env`."""
    become_subreaper()
    _servers[:] = [child.pid for child in psutil.Process().children()]
    monkeypatch.setattr(confinement, "_mine", None)
    folder = Path(tempfile.mkdtemp(prefix="ea-iso-"))
    for name in ("state", "state/run", "state/tmp", "cwd"):
        (folder / name).mkdir(mode=0o700)
    (folder / "state/vault.json").write_text("secret")
    (folder / "cwd/.env").write_text("AGENT_API_KEY=secret\n")
    monkeypatch.chdir(folder / "cwd")
    yield folder
    shutil.rmtree(folder)


def settings(home: Path, **more: object) -> AgentSettings:
    values = {"agent_api_url": "http://h.example", "agent_api_key": "k", "state_dir": home / "state", **more}
    return AgentSettings(_env_file=None, **values)


def isolated(home: Path, **more: object) -> Isolation:
    """As userns is on this machine; the tests of what it hides are in tests/system."""
    found = find_isolation(settings(home, script_isolation="userns", **more), "agent-of-tests")
    assert found.mode == "userns", f"{found.sentence}; this test needs user namespaces"
    return found


def run(home: Path, isolation: Isolation, script: str, **more: object):
    harness = Harness(Script(), home / "state/tmp", isolation=isolation, limits=Limits(60, 0, 0))
    return harness.run("bash", {"script": script}, **more).recorded
