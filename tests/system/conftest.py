"""What the tests of whole systems share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

import pytest

from tests.support.require import require_program


class Site(Protocol):
    """What a module calls `Site`: its control plane, agents and what stands between, made by `Site(folder)`."""

    def stop(self) -> None: ...


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """The module's own `Site`; its clocks are moved by a library that is compiled for it."""
    require_program("cc", package="gcc libc6-dev")
    # short: unix sockets live below it
    with tempfile.TemporaryDirectory(prefix="ea-", dir="/tmp") as folder:
        running = cast("Site", request.module.Site(Path(folder)))
        try:
            yield running
        finally:
            running.stop()
