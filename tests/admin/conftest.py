"""The admin API as its callers meet it: the real server on a real socket, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

import vault.key
from admin import api
from admin.guard import Guard
from admin.listener import listen
from admin.server import serve
from easyalert.runtime import Stop
from tests.support.ports import free_port
from tests.support.waiting import eventually
from vault import Vault, VaultKey

TOKEN = "token-of-the-tests-0123456789"
KEY = "ea_agent_current_key"


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 2)


@dataclass
class Clock:
    """Time that passes only when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Running:
    """A served application with its guard."""

    vault: Vault
    vault_path: Path
    clock: Clock
    port: int
    status: dict = field(default_factory=lambda: {"agentName": "a"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx.Client:
        """With the token, unless told otherwise."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | headers
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False)

    def stranger(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=10, trust_env=False)


class Switch:
    """Stands where the application stands, so that one server (0.3 s to stop) serves each test its own."""

    app = None

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def listening() -> Iterator[tuple[Switch, int]]:
    switch, port = Switch(), free_port()
    with served(switch, port):
        yield switch, port


@pytest.fixture
def running(tmp_path, listening) -> Running:
    switch, port = listening
    path = tmp_path / "vault.json"
    store = Vault(path, VaultKey(KEY))
    running = Running(store, path, Clock(), port)
    app = api.build(store, rekey=store.rekey, status=lambda: running.status)
    switch.app = Guard(app, token=TOKEN, clock=running.clock)
    return running


@pytest.fixture
def client(running) -> Iterator[httpx.Client]:
    with running.client() as client:
        yield client


class served:  # noqa: N801 - used as a statement
    """Run `app` on `port` in a thread for the length of a `with` block."""

    def __init__(self, app, port: int) -> None:
        self._app = app
        self._port = port
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = Stop()
        listener = await listen(self._port, self._stop)
        self._ready.set()
        if listener is not None:
            await serve(self._app, listener, self._stop)

    def __enter__(self):
        self._thread.start()
        eventually(self._ready.is_set, what="the server listening")
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(15)
        assert not self._thread.is_alive()
