"""The server's tick: ends what is due, once a second."""

from __future__ import annotations

import asyncio
import logging

from anyio import to_thread
from sqlalchemy.orm import Session

from controlplane.api.runtime import Runtime
from controlplane.services import retention, sweep
from controlplane.services.changes import Changes

logger = logging.getLogger("easyalert.controlplane.janitor")
TICK_S = 1.0
HOUSEKEEPING_S = 3600.0
STOOD_STILL_S = 15.0
"""So long without a tick: this process, or its machine, was stopped, and could hear nobody."""


class Janitor:
    """Runs `services.sweep` on the server's clock, and scrubs wiped secrets out of the database's log."""

    def __init__(self, runtime: Runtime, tick_s: float = TICK_S) -> None:
        self._runtime = runtime
        self._tick_s = tick_s
        self._scrub = False
        self._looked_at = runtime.clock.now()
        self._kept_house_at = 0.0
        self._ticked_at: float | None = None
        self._dropping = False
        """There may be outputs left whose time is over."""
        runtime.listeners.append(self._on_changes)

    async def run(self) -> None:
        """Tick for ever. A failing tick is logged and tried again."""
        while True:
            await asyncio.sleep(self._tick_s)
            try:
                await self.tick()
            except Exception:
                logger.exception("ending what is due failed; trying again in %s s", self._tick_s)

    async def tick(self) -> None:
        """End what is due now."""
        runtime = self._runtime
        now = runtime.clock.now()
        since, self._looked_at = self._looked_at, now
        self._notice_standstill(now)
        if await runtime.read(lambda s, at: sweep.is_due(s, at, runtime.up_since) or sweep.unblocks(s, since, at)):
            await runtime.write(lambda s, at: self._sweep(s, since, at))
        if now - self._kept_house_at >= HOUSEKEEPING_S:
            self._kept_house_at = now
            await runtime.write(sweep.housekeeping)
            self._dropping = True
        if self._dropping:
            # one piece a tick: leases and silence are looked at every second, whatever there is to delete
            before = now - runtime.settings.output_retention_days * 86_400
            self._dropping = bool(
                await runtime.write_if(
                    lambda s, _now: retention.is_due(s, before), lambda s, _now: retention.drop_outputs(s, before)
                )
            )
        if self._scrub:
            self._scrub = not await to_thread.run_sync(runtime.database.scrub)

    def _notice_standstill(self, now: float) -> None:
        ticked_at, self._ticked_at = self._ticked_at, asyncio.get_running_loop().time()
        if ticked_at is not None and (gap := self._ticked_at - ticked_at) >= STOOD_STILL_S:
            logger.warning("stood still for %.0f s; the silence of agents counts from now on", gap)
            self._runtime.up_since = now

    def _sweep(self, session: Session, since: float, now: float) -> None:
        changed = sweep.sweep(session, now, self._runtime.up_since)
        sweep.wake_unblocked(session, since, now)
        if changed:
            logger.info("%d jobs ended or went back by time", changed)

    def _on_changes(self, changes: Changes) -> None:
        self._scrub = self._scrub or changes.wiped
