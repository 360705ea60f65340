"""Servers and accounts that the tests of ssh share, made once for each file."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest

from easyalert.host_keys import AgentHostKeys
from tests.support.ssh_server import SshServer, account, ssh_server
from workers.executors.ssh import Ssh
from workers.sdk.harness import Harness


@pytest.fixture(scope="module")
def place():
    """Other accounts get there. Not in pytest's own folder, which each run closes for all that run beside it."""
    with tempfile.TemporaryDirectory(prefix="ea-ssh-", dir="/tmp") as folder:
        made = Path(folder)
        made.chmod(0o711)
        yield made


@pytest.fixture(scope="module")
def user(place):
    with account(place / "home") as made:
        yield made


@pytest.fixture(scope="module")
def server(place, user):
    with ssh_server(place / "server") as made:
        yield made


@pytest.fixture(scope="module")
def make_server(place):
    """Another server, with further configuration."""
    with contextlib.ExitStack() as stack:
        count = iter(range(100))
        yield lambda *configuration, **more: stack.enter_context(
            ssh_server(place / f"server{next(count)}", *configuration, **more)
        )


@pytest.fixture(autouse=True)
def no_home(tmp_path, monkeypatch):
    """No known_hosts and no keys of whoever runs the tests; nothing that an agent of theirs would offer."""
    home = tmp_path / "home_of_the_agent"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


class Client:
    """Runs actions against one server, whose host key is known unless the entry says otherwise."""

    def __init__(self, tmp_path, server: SshServer, user):
        self.tmp_path, self.server, self.user = tmp_path, server, user
        self.pins = AgentHostKeys(tmp_path / "known_hosts", "strict", lambda _name, _keys: None)

    def entry(self, **more):
        own = {
            "host": "127.0.0.1", "port": self.server.port, "username": self.user.name,
            "privateKey": self.server.private_key(), "knownHostsPath": str(self.server.known_hosts()),
        }  # fmt: skip
        return {name: value for name, value in (own | more).items() if value is not None}

    def __call__(self, name, params=None, *, entry=None, timeout_s=60, cancelled=lambda: False, live=None, **more):
        entry = self.entry(**more) if entry is None else entry
        harness = Harness(
            Ssh(),
            self.tmp_path,
            credential=entry,
            cancelled=cancelled,
            host_keys=self.pins,
            live=live,
            cancel_grace_s=1.0,
        )
        self.ran = harness.run(name, params or {}, timeout_s=timeout_s)
        for secret in (self.user.password, self.server.private_key()):
            assert secret not in str(self.ran.recorded)
        return self.ran.recorded

    def exists(self, path):
        return Path(path).exists()

    def command(self, text, params=None, **more):
        return self("executeCommand", {"command": text, **(params or {})}, **more)

    def script(self, text, params=None, **more):
        return self("executeScript", {"script": text, **(params or {})}, **more)


@pytest.fixture
def ssh(tmp_path, server, user):
    return Client(tmp_path, server, user)


@pytest.fixture
def client(tmp_path, user):
    """For a server of one's own."""
    return lambda server: Client(tmp_path, server, user)
