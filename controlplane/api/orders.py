"""Agents that wait to be told: polls with `slots=0` (feature `cancel`), answered as soon as there is an order."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy.orm import Session

from controlplane.api.runtime import Runtime
from controlplane.services import orders
from controlplane.services.changes import Changes
from easyalert.protocol.messages import OrdersData


class OrderDesk:
    """Lives in the event loop of the server. Waiting costs no database: a listener looks once, then when woken."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: dict[str, asyncio.Event] = {}
        runtime.listeners.append(self._on_changes)

    @property
    def waiting(self) -> set[str]:
        """Ids of the agents that wait."""
        return set(self._waiting)

    async def listen(self, agent_id: str, *, wait_s: float, gone: asyncio.Task[None]) -> OrdersData:
        """Jobs to cancel: at once when there are any, else the first within `wait_s`, else none.

        `gone` ends when the client hangs up. A newer listener of the same agent ends an older one.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        woken = asyncio.Event()
        if (older := self._waiting.get(agent_id)) is not None:
            older.set()
        self._waiting[agent_id] = woken
        try:
            while True:
                woken.clear()
                found = await self._runtime.read(lambda session, _now: _look(session, agent_id))
                left = until - loop.time()
                replaced = self._waiting.get(agent_id) is not woken
                if found.cancel_jobs or left <= 0 or replaced or self._runtime.closing or gone.done():
                    return found
                await _first(woken, gone, left)
        finally:
            if self._waiting.get(agent_id) is woken:
                del self._waiting[agent_id]

    def close(self) -> None:
        """Let all go at once: the server stops."""
        for event in self._waiting.values():
            event.set()

    def _on_changes(self, changes: Changes) -> None:
        for agent_id in changes.ordered:
            if (event := self._waiting.get(agent_id)) is not None:
                event.set()


def _look(session: Session, agent_id: str) -> OrdersData:
    return OrdersData(cancel_jobs=orders.jobs_to_cancel(session, agent_id))


async def _first(woken: asyncio.Event, gone: asyncio.Task[None], seconds: float) -> None:
    waking = asyncio.ensure_future(woken.wait())
    try:
        waiting: set[asyncio.Future[Any]] = {waking, gone}
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waking.cancel()
