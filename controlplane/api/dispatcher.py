"""The meeting point of waiting polls and waiting jobs.

A poll becomes a waiter. Whatever may let a job be given away (a job, an agent's return, the end of a head start)
marks a pool; one task makes one pass at a time over each marked pool, in one transaction for all its waiters, and
hands every waiter its jobs. So a thousand waiting polls cost one transaction per job, and the healthiest gets it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from controlplane.api.runtime import Runtime
from controlplane.services import claims
from controlplane.services.changes import Changes
from controlplane.services.dispatch import EXPECTED_S
from controlplane.services.key_auth import AgentIdentity
from easyalert.protocol import features

logger = logging.getLogger("easyalert.controlplane.dispatch")

Jobs = list[dict[str, Any]]


@dataclass
class _Waiter:
    agent_id: str
    pool_id: str
    slots: int
    acknowledges: bool
    """A hand-out is confirmed by the agent (feature ack); without it, the hand-out is the claim."""
    until: float
    """On the loop's clock."""
    answer: asyncio.Future[Jobs]
    in_pass: bool = False

    def resolve(self, jobs: Jobs) -> None:
        if not self.answer.done():
            self.answer.set_result(jobs)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Dispatcher:
    """Lives in the event loop of the server."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiters: dict[str, _Waiter] = {}
        self._marked: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._polled: dict[str, float] = {}
        self._returning: set[asyncio.Future[None]] = set()
        runtime.listeners.append(self._on_changes)

    async def poll(self, agent: AgentIdentity, *, slots: int, wait_s: float, gone: asyncio.Task[None]) -> Jobs:
        """The jobs for one poll: at once when there are any, else the first within `wait_s`, else none.

        `gone` ends when the client hangs up. A newer poll of the same agent ends an older one.
        """
        loop = asyncio.get_running_loop()
        if self._runtime.closing:
            return []
        if (older := self._waiters.get(agent.agent_id)) is not None:
            older.resolve([])
        acknowledges = features.ACK in agent.features
        until = loop.time() + wait_s
        waiter = _Waiter(agent.agent_id, agent.pool_id, slots, acknowledges, until, loop.create_future())
        self._waiters[agent.agent_id] = waiter
        self.mark([agent.pool_id])
        timer = loop.call_later(wait_s, self._time_out, waiter)
        try:
            waiting: set[asyncio.Future[Any]] = {waiter.answer, gone}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return waiter.answer.result() if waiter.answer.done() else []
        finally:
            timer.cancel()
            self._polled[agent.agent_id] = loop.time()
            if self._waiters.get(agent.agent_id) is waiter:
                del self._waiters[agent.agent_id]

    def mark(self, pool_ids: Iterable[str]) -> None:
        """Have these pools looked at."""
        self._marked.update(dict.fromkeys(pool_ids))
        if self._marked:
            self._wake.set()

    async def run(self) -> None:
        """Make passes for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._marked:
                pool_id = next(iter(self._marked))
                del self._marked[pool_id]
                await self._pass(pool_id)

    def close(self) -> None:
        """Let all polls go at once: the server stops."""
        for timer in self._timers.values():
            timer.cancel()
        for waiter in self._waiters.values():
            if not waiter.in_pass:
                waiter.resolve([])
            waiter.until = 0.0

    async def _pass(self, pool_id: str) -> None:
        waiters = [w for w in self._waiters.values() if w.pool_id == pool_id and not w.answer.done()]
        if not waiters:
            return
        for waiter in waiters:
            waiter.in_pass = True
        try:
            # An offer that a power cut takes back is refused at its acknowledgement, whose own commit makes it durable.
            durable = not all(waiter.acknowledges for waiter in waiters)
            slots = {waiter.agent_id: waiter.slots for waiter in waiters}
            handed = await self._hand_out(pool_id, slots, durable=durable)
        except Exception as error:
            logger.exception("handing out jobs of pool %s failed", pool_id)
            for waiter in waiters:
                waiter.fail(error)
            return
        finally:
            for waiter in waiters:
                waiter.in_pass = False
        self._answer(waiters, handed)
        if handed.retry_at is not None:
            self._look_again(pool_id, handed.retry_at - self._runtime.clock.now())

    def _answer(self, waiters: list[_Waiter], handed: claims.HandOut) -> None:
        for agent_id, jobs in handed.jobs.items():
            # By agent, not by the waiter of before: it may have polled anew. If nobody is there, the lease brings them
            # back.
            if (current := self._waiters.get(agent_id)) is not None:
                current.resolve(jobs)
            elif unseen := [job["jobId"] for job in jobs if "attempt" not in job]:
                self._take_back(agent_id, unseen)
        now = asyncio.get_running_loop().time()
        for waiter in waiters:
            if waiter.until <= now:
                waiter.resolve([])

    def _take_back(self, agent_id: str, wire_ids: list[str]) -> None:
        def work(session: Session, now: float) -> None:
            claims.take_back(session, now, agent_id, wire_ids)

        task = asyncio.ensure_future(self._runtime.write(work))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _hand_out(self, pool_id: str, slots: dict[str, int], *, durable: bool) -> claims.HandOut:
        expected = self._expected()

        nothing = claims.HandOut()

        def has_work(session: Session, now: float) -> bool:
            return claims.has_work(session, now, pool_id, list(slots), nothing)

        def hand_out(session: Session, now: float) -> claims.HandOut:
            return claims.hand_out(session, now, pool_id, slots, expected)

        handed = await self._runtime.write_if(has_work, hand_out, durable=durable)
        return handed or nothing

    def _expected(self) -> set[str]:
        forgotten = asyncio.get_running_loop().time() - EXPECTED_S
        self._polled = {agent_id: at for agent_id, at in self._polled.items() if at > forgotten}
        return set(self._polled)

    def _look_again(self, pool_id: str, delay_s: float) -> None:
        if (timer := self._timers.pop(pool_id, None)) is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[pool_id] = loop.call_later(max(0.01, delay_s), self.mark, [pool_id])

    def _time_out(self, waiter: _Waiter) -> None:
        # In a pass, jobs may just be given to it: the end of the pass answers.
        if not waiter.in_pass and waiter.pool_id not in self._marked:
            waiter.resolve([])

    def _on_changes(self, changes: Changes) -> None:
        self.mark(changes.pools)
