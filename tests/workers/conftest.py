"""Fixtures of the workers' tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.agent_home import AgentHome
from tests.workers.chain import Chain


@pytest.fixture
def make_chain(make_home: Callable[..., AgentHome]) -> Callable[..., Chain]:
    """Makes a home with a Redis and, unless told otherwise, a running pool."""

    def make(*, start: bool = True, **settings: Any) -> Chain:
        home = make_home("http://127.0.0.1:1", **settings)
        home.start_redis()
        chain = Chain(home)
        if start:
            chain.start()
        return chain

    return make
