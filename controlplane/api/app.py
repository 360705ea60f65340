"""The application: routes, error handlers, and the tasks that live as long as it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI

from controlplane.api import (
    agent_routes,
    operator_agents,
    operator_audit,
    operator_credentials,
    operator_jobs,
    operator_output,
    public_routes,
)
from controlplane.api.bodies import BodyLimit
from controlplane.api.dispatcher import Dispatcher
from controlplane.api.envelope import install_error_handlers
from controlplane.api.janitor import Janitor
from controlplane.api.orders import OrderDesk
from controlplane.api.runtime import Runtime

logger = logging.getLogger("easyalert.controlplane")


def create_app(runtime: Runtime, *, version: str = "0") -> FastAPI:
    """The application over a migrated database."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runtime.attach(asyncio.get_running_loop())
        dispatcher = app.state.dispatcher = Dispatcher(runtime)
        app.state.orders = OrderDesk(runtime)
        tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(Janitor(runtime).run())]
        for task in tasks:
            task.add_done_callback(_must_not_end)
        yield
        stop_waiting(app)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # No documentation pages: they would load scripts from elsewhere. /openapi.json stays.
    app = FastAPI(
        title="EasyAlert control plane",
        version=version,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # A redirect is a failure to an agent (contract 1.1).
        redirect_slashes=False,
    )
    app.state.runtime = runtime
    app.add_middleware(BodyLimit)
    install_error_handlers(app)
    for router in (
        agent_routes.router,
        operator_agents.router,
        operator_audit.router,
        operator_credentials.router,
        operator_jobs.router,
        operator_output.router,
        public_routes.router,
    ):
        app.include_router(router.api)
    return app


def stop_waiting(app: FastAPI) -> None:
    """Let everything that waits answer at once. To be called in the event loop."""
    runtime: Runtime = app.state.runtime
    runtime.closing = True
    runtime.watch.close()
    runtime.output_watch.close()
    if (dispatcher := getattr(app.state, "dispatcher", None)) is not None:
        dispatcher.close()
        app.state.orders.close()


def _must_not_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        logger.critical("a task of the server ended; restart the control plane", exc_info=task.exception())
