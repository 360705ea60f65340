"""Fixtures every room's tests may use; what they are made of is in `tests/support`."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.agent_home import AgentHome
from tests.support.plain_server import PlainServer
from tests.support.redis_server import RedisServer

# How long one example takes says how busy the machine is, not whether the promise holds; pytest's own limit stays.
settings.register_profile("easyalert", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("easyalert")

# A shell starts what runs in its background with SIGINT ignored, and so would be everything that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A test process that sends its reports to another one can send no lone surrogates, which tests of texts print."""
    return _sendable((yield))


def _sendable(found: Any) -> Any:
    if isinstance(found, str):
        return found.encode("utf-8", "backslashreplace").decode()
    if isinstance(found, dict):
        return {_sendable(name): _sendable(value) for name, value in found.items()}
    return type(found)(map(_sendable, found)) if isinstance(found, list | tuple) else found


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A private folder with a path short enough for unix sockets (107 bytes)."""
    folder = Path(tempfile.mkdtemp(prefix="ea-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_server(short_dir: Path) -> Iterator[RedisServer]:
    """A real Redis of this test's own."""
    server = RedisServer(short_dir / "redis.sock", folder=short_dir)
    yield server
    server.kill()


@pytest.fixture
def plain_server() -> Iterator[PlainServer]:
    """A control plane of the base protocol; the test fails when the client broke the contract."""
    server = PlainServer()
    yield server
    server.close()
    assert server.violations == []


@pytest.fixture
def make_home(short_dir: Path) -> Iterator[Callable[..., AgentHome]]:
    """Makes agent homes: `make_home(url, max_concurrent_jobs=2)`."""
    homes: list[AgentHome] = []

    def make(url: str, **settings: object) -> AgentHome:
        homes.append(AgentHome(short_dir / f"h{len(homes)}", url, **settings))
        return homes[-1]

    yield make
    for home in homes:
        home.close()
