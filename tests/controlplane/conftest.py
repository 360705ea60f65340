"""A fresh migrated database for each test, copied from one that is migrated once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import event

from controlplane.clock import SystemClock
from controlplane.models.engine import Database
from controlplane.models.migrate import migrate
from tests.controlplane.live import LiveService
from tests.controlplane.world import World


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "template.sqlite3"
    database = Database(f"sqlite:///{file}")
    migrate(database)
    assert database.scrub()
    database.close()
    return file


@pytest.fixture
def database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    file = tmp_path / "controlplane.sqlite3"
    shutil.copy(migrated_file, file)
    found = Database(f"sqlite:///{file}")
    # No test cuts the power: a thousand fsyncs would only cost time. test_engine checks that they are on.
    event.listen(found.engine, "connect", lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
    yield found
    found.close()


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def service(database: Database) -> Iterator[LiveService]:
    """A control plane on a real socket, at a clock that stands still until it is moved."""
    found = LiveService(database)
    yield found
    found.close()


@pytest.fixture
def http(service: LiveService) -> httpx.Client:
    """A client of `service`, without any credential."""
    return service.client()


@pytest.fixture
def live(database: Database) -> Iterator[LiveService]:
    """A control plane on a real socket, with the real clock."""
    found = LiveService(database, SystemClock())
    yield found
    found.close()
