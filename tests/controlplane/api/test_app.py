"""The application as a whole: what lives with it, and that a task of it that ends does not end unseen."""

import asyncio
import logging

import pytest

from controlplane.api.app import _must_not_end, create_app
from controlplane.api.runtime import Runtime
from controlplane.settings import ControlPlaneSettings
from tests.controlplane.world import FakeClock


def test_the_tasks_live_as_long_as_the_application(database):
    app = create_app(Runtime(ControlPlaneSettings(), database, FakeClock()))

    async def run():
        before = asyncio.all_tasks()
        async with app.router.lifespan_context(app):
            assert len(asyncio.all_tasks() - before) == 2
        assert asyncio.all_tasks() == before
        assert app.state.runtime.closing

    asyncio.run(run())


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_task_that_ends_is_reported(how, caplog):
    async def ends():
        if how == "raises":
            raise ZeroDivisionError

    async def run():
        task = asyncio.create_task(ends())
        task.add_done_callback(_must_not_end)
        await asyncio.wait([task])
        await asyncio.sleep(0)

    asyncio.run(run())
    assert [record.levelno for record in caplog.records if "ended" in record.message] == [logging.CRITICAL]


def test_operation_ids_are_unique(database):
    app = create_app(Runtime(ControlPlaneSettings(), database, FakeClock()))
    found = [op["operationId"] for path in app.openapi()["paths"].values() for op in path.values()]
    assert len(found) == len(set(found))
