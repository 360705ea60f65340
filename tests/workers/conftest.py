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


# ---- databases: servers that take a second to start, once for all tests that want them -------------------------------


@pytest.fixture(scope="session")
def postgres_of_the_session():
    from tests.support.database_servers import PostgresServer, running

    with running(PostgresServer) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_of_the_session():
    from tests.support.database_servers import MariadbServer, running

    with running(MariadbServer) as server:
        yield server


@pytest.fixture
def postgres(postgres_of_the_session):
    postgres_of_the_session.revive()
    return postgres_of_the_session


@pytest.fixture
def mariadb(mariadb_of_the_session):
    mariadb_of_the_session.revive()
    return mariadb_of_the_session


@pytest.fixture(params=["postgres", "mariadb"])
def server(request):
    """One after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def ask(tmp_path):
    """Runs an action of the database executor as the worker does; the vault's entry is the server's and `entry`."""

    def run(server, query=None, *, action="executeQuery", entry=None, timeout_s=60, cancelled=lambda: False, **params):
        from workers.executors.database import Database
        from workers.sdk.harness import Harness

        credential = {**(server.credential() if server else {}), **(entry or {})}
        harness = Harness(Database(), tmp_path, credential=credential, cancelled=cancelled)
        params = {**params, **({"query": query} if query is not None else {})}
        ran = harness.run(action, params, timeout_s=timeout_s)
        assert list(tmp_path.iterdir()) == []
        return ran.recorded

    return run


@pytest.fixture
def good(ask):
    """As `ask`, of what has to succeed; the output."""

    def run(*args, **options):
        recorded = ask(*args, **options)
        assert recorded["status"] == "success", recorded
        assert (recorded["exitCode"], recorded["error"]) == (0, None)
        return recorded["output"]

    return run


# ---- Kubernetes: an API server, once for each module that wants it, and a fresh cluster for each test -----------------


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    from tests.support.kube_api import KubeApi

    with KubeApi(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def kube(api, tmp_path):
    from tests.support.kube_case import KubeCase

    api.fresh()
    return KubeCase(api, tmp_path)
