from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from easyalert.settings import AgentSettings
from tests.cli.agent_process import API_KEY, AgentProcess
from tests.cli.redis_process import EmbeddedRedis


@pytest.fixture
def settings_of() -> Callable[..., AgentSettings]:
    """Settings on a state directory, untouched by this machine's environment: `settings_of(folder, admin_port=1)`."""

    def make(folder: Path, **more: object) -> AgentSettings:
        values = {"agent_api_url": "http://127.0.0.1:1", "agent_api_key": API_KEY, "state_dir": str(folder), **more}
        return AgentSettings(_env_file=None, **values)

    return make


@pytest.fixture
def agent_on(short_dir: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Makes agents: `agent_on(url)`; `agent_on(url, name="second", ADMIN_PORT="1")`."""
    agents: list[AgentProcess] = []

    def make(url: str, name: str = "state", **environment: str) -> AgentProcess:
        agents.append(AgentProcess(short_dir / name, url, **environment))
        return agents[-1]

    yield make
    for agent in agents:
        agent.close()


@pytest.fixture
def embedded(short_dir: Path, settings_of) -> Iterator[EmbeddedRedis]:
    """The embedded Redis, running."""
    server = EmbeddedRedis(settings_of(short_dir / "state")).start()
    yield server
    server.kill()
