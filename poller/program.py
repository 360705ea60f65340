"""The whole process: its loops, how it begins, and in which order it ends.

The end: at the stop nothing more is taken (a long poll is cut off) and nothing more is enqueued. Results go on being
reported while workers finish, at most for the shutdown grace; then what is left in the outbox is tried once more for a
few seconds. Whatever is not delivered stays in the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from easyalert.client import ControlPlaneClient
from easyalert.errors import ConfigurationError, JournalError
from easyalert.instance import instance_of
from easyalert.journal import Journal
from easyalert.runtime import Backoff, Stop
from easyalert.sealing import PublicKey, load_public_key
from easyalert.settings import AgentSettings
from easyalert.wakeup import WakeupListener
from poller.bell import Bell
from poller.brake import Brake
from poller.condition import Condition, keep_note
from poller.dispatch import Dispatch
from poller.loops import keep_running
from poller.orders import Orders
from poller.output import OutputSender
from poller.parts import Parts
from poller.permits import Permits
from poller.polling import LAST_PLAIN_POLL_S, Polling
from poller.reconciler import Reconciler
from poller.registration import Registrar
from poller.reporter import Reporter
from poller.retention import keep_pruned
from poller.session import Session

log = logging.getLogger(__name__)
T = TypeVar("T")
Loop = Callable[[], Coroutine[Any, Any, None]]

_AFTER_GRACE_S: Final = 3.0
_ORPHANED_ROWS_S: Final = 2.0
"""How long the workers' parent may take to settle a row whose process has died."""
_FLUSH_S: Final = 4.0


async def run(settings: AgentSettings) -> None:
    """Everything from the first request to the last. Raises ConfigurationError for what a person has to change."""
    stop = Stop()
    stop.install()
    client = ControlPlaneClient(settings)
    try:
        key = await _patiently(lambda: load_public_key(settings.agent_key_path), stop)
        instance = await _patiently(lambda: instance_of(settings.instance_path), stop)
        journal = await _patiently(lambda: Journal(settings.journal_path), stop)
        if key is None or instance is None or journal is None:
            return
        with journal:
            parts = Parts(settings, client, journal, Session(), Condition(), Dispatch(settings), stop, Stop())
            await _Poller(parts, key, instance).run()
    finally:
        await client.close()


async def _patiently(attempt: Callable[[], T], stop: Stop) -> T | None:
    """What another program of the agent may still be making, or a full disk does not give yet. None: stopped."""
    pauses = Backoff(first=0.2, cap=30)
    while not stop.is_set:
        try:
            return attempt()
        except (JournalError, ConfigurationError, OSError) as error:
            pause = pauses.next()
            log.error("%s (tried again in %.0f s)", error, pause)  # noqa: TRY400 - the sentence says it all
            await stop.wait(pause)
    return None


class _Poller:
    """The loops and what they share."""

    def __init__(self, parts: Parts, key: PublicKey, instance: str) -> None:
        self._parts = parts
        self._bell = Bell()
        self._drained = self._bell.listener()
        taken = asyncio.Event()
        self._printed = asyncio.Event()
        brake = Brake(parts.settings, parts.journal)
        self._taking: dict[str, Loop] = {
            "registration": Registrar(parts, instance).run,
            "polling": Polling(parts, brake=brake, key=key, bell=self._bell, taken=taken).run,
            "acknowledgement": Permits(parts, bell=self._bell, taken=taken).run,
            "cancellation": Orders(parts, bell=self._bell).run,
            "queue": Reconciler(parts).run,
            "retention": lambda: keep_pruned(parts),
        }
        self._giving: dict[str, Loop] = {
            "reporting": Reporter(parts, self._bell.listener()).run,
            "output": OutputSender(parts, self._printed).run,
            "note": lambda: keep_note(parts.condition, parts.journal, parts.end),
        }

    async def run(self) -> None:
        """Until the stop, and through the drain after it."""
        parts = self._parts
        listener = await _patiently(self._listen, parts.stop)
        taking = self._start(self._taking, parts.stop)
        giving = self._start(self._giving, parts.end)
        try:
            await parts.stop.wait()
            log.info("%s: no new jobs are taken; reporting until the running ones end", parts.stop.reason)
            await asyncio.wait(taking, timeout=LAST_PLAIN_POLL_S + 1)
            await self._drain()
        finally:
            parts.end.set("drained")
            await asyncio.wait(giving, timeout=1)
            for task in taking + giving:
                task.cancel()
            await asyncio.gather(*taking, *giving, return_exceptions=True)
            if listener is not None:
                listener.close()
            parts.dispatch.close()

    def _listen(self) -> WakeupListener:
        return WakeupListener(self._parts.settings.wakeup_socket, self._bell, self._printed)

    def _start(self, loops: dict[str, Loop], stop: Stop) -> list[asyncio.Task[None]]:
        return [
            asyncio.create_task(keep_running(name, loop, stop=stop, condition=self._parts.condition), name=name)
            for name, loop in loops.items()
        ]

    async def _drain(self) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self._parts.settings.shutdown_grace_seconds + _AFTER_GRACE_S
        orphans_until: float | None = None
        while clock() < end:
            running = self._parts.journal.running()
            if any(row.owner is not None and row.owner.alive() for row in running):
                orphans_until = None
            elif not running or clock() > (orphans_until := orphans_until or clock() + _ORPHANED_ROWS_S):
                break
            await self._tick()
        end = clock() + _FLUSH_S
        while clock() < end and self._parts.session.ready.is_set() and self._parts.journal.unreported_keys(1):
            await self._tick()

    async def _tick(self) -> None:
        self._drained.clear()
        await self._parts.end.wait(0.05, self._drained)
