"""The heart: one beat after registration, then one per interval, `offline` at the end.

Its own loop in its own process, so that nothing the agent does can silence it. A failing beat costs its own time-out
(10 s) and nothing else: the next one keeps its place in the rhythm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from pydantic import ValidationError

from easyalert import wakeup
from easyalert.errors import ControlPlaneError, JournalError, RateLimited, Unauthorized
from easyalert.journal import Figures, Journal
from easyalert.journal.pause import CONTROL_NOTE, Pause, local_pause
from easyalert.protocol import features
from easyalert.protocol.messages import HeartbeatRequest, RegisterData
from easyalert.runtime import Backoff, Stop
from easyalert.settings import AgentSettings
from heartbeat.components import OK, Components, noted
from heartbeat.control import control_note, ordered, told_of
from heartbeat.figures import Status, agent_uptime_s, audit_head, base_form, extended_form, message, script_isolation
from heartbeat.metrics import HostMetrics

log = logging.getLogger(__name__)

BEAT_TIMEOUT_S: Final = 10.0
OFFLINE_TIMEOUT_S: Final = 5.0
JITTER: Final = 0.1
"""Beats come up to this part of the interval early, never late: a fleet does not beat in step."""
UNWELL_FIRST_S: Final = 2.0
"""Longest pause after the first beat that says something is not ok, doubling up to the interval: workers that are still
starting at the first beat must not make the agent look degraded for half a minute."""
BLOCKED_S: Final = 5.0
"""Longest pause while the control plane keeps jobs from this agent: an answer says when that is over."""
PAUSE_LOOK_S: Final = 2.0
"""How often it is looked whether this agent was paused or resumed, which is told at once."""
LOOK_S: Final = 0.1
"""Pause between looks for the registration, before the first beat and while the key is refused."""
REFUSED_CAP_S: Final = 300.0
RATE_LIMIT_CAP_S: Final = 45.0
"""The server may ask for calm, not for an agent that looks dead."""

_NOTHING: Final = Figures(0, 0, 0, 0, (), 0, 0, 0, 0, 0)


class Sender(Protocol):
    """The part of the control plane's client that is used here."""

    instance: str | None

    async def heartbeat(self, request: HeartbeatRequest) -> Any:
        """Post one heartbeat; raises ControlPlaneError."""


class Heart:
    """Beats from `run` until the stop. Reads the journal; writes its own note and the health file."""

    def __init__(
        self,
        settings: AgentSettings,
        journal: Journal,
        client: Sender,
        *,
        components: Components,
        metrics: HostMetrics,
        random_: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._client = client
        self._components = components
        self._metrics = metrics
        self._random = random_
        self._supervisor = os.getppid()
        self._figures = _NOTHING
        self._refused = Backoff(float(settings.heartbeat_interval), REFUSED_CAP_S)
        self._unwell = Backoff(UNWELL_FIRST_S, float(settings.heartbeat_interval))
        self._states: dict[str, str] = {}
        self._last_success: float | None = None
        self._failing_since: float | None = None
        self._note: dict[str, Any] = {}
        self._control: Any = ()
        """The note `control` as it was left last; at first something that no note is."""
        self._told_pause: Pause | None = None
        self._seen: Any = None
        """The registration as it was read last, whole: a new one may hold the same id."""

    async def run(self, stop: Stop) -> None:
        """Beat until `stop`. Sends `offline` once, when there was ever a registration."""
        registration = await self._registered(stop)
        while not stop.is_set and registration is not None:
            begun = time.monotonic()
            note = self._seen
            pause = await self._unless_stopped(stop, self._beat(registration))
            if pause is None:
                break
            await self._rest(stop, begun + pause, note)
            registration = self._registration() or registration
        if registration is not None:
            await self._say_offline(registration)

    # ---- one beat ---------------------------------------------------------------------------------------------------

    async def _beat(self, registration: RegisterData) -> float:
        """Send one; returns the seconds from its beginning to the next one."""
        try:
            async with asyncio.timeout(BEAT_TIMEOUT_S):
                answer = await self._client.heartbeat(await self._message(registration, "online"))
        except Unauthorized as error:
            # the poller registers again, with a back-off of its own; its success ends ours
            return self._failed(error, self._refused.next())
        except RateLimited as error:
            return self._failed(error, max(self._interval(), min(error.retry_after, RATE_LIMIT_CAP_S)))
        except ControlPlaneError as error:
            return self._failed(error, self._interval())
        except TimeoutError:
            return self._failed(TimeoutError(f"no answer within {BEAT_TIMEOUT_S:.0f} s"), self._interval())
        self._succeeded()
        blocked = self._obey(answer, registration)
        if all(state == OK for state in self._states.values()):
            self._unwell.reset()
            return min(self._interval(), BLOCKED_S) if blocked else self._interval()
        return min(self._interval(), self._unwell.next())

    def _obey(self, answer: Any, registration: RegisterData) -> bool:
        """Leave what the control plane said to the poller. True: it keeps jobs from this agent."""
        note = control_note(answer, registration.features, time.time(), self._control)
        if note != self._control:
            with contextlib.suppress(JournalError):  # said again in the next answer
                self._journal.leave_note(CONTROL_NOTE, note, audited=ordered(self._control, note))
                self._control = note
                wakeup.notify(self._settings.wakeup_socket)
        return note is not None and bool(note.get("disabled") or note.get("drain"))

    async def _message(self, registration: RegisterData, status: Status) -> HeartbeatRequest:
        with contextlib.suppress(JournalError):  # the beat says what was known last; `components` says why
            self._figures = self._journal.figures()
        uptime = agent_uptime_s(self._supervisor)
        fields = base_form(registration, status, self._figures, self._metrics.sample(), uptime)
        if registration.features:
            # the journal is this thread's; only what may block goes elsewhere
            states = await asyncio.to_thread(self._components.look) | noted(self._journal)
            running = []
            with contextlib.suppress(JournalError):
                running = self._journal.running()
            self._states = states
            fields |= extended_form(self._figures, running, states, self._settings.max_concurrent_jobs)
            if (head := audit_head(self._journal)) is not None:
                fields["audit"] = head
            if (isolation := script_isolation(self._journal)) is not None:
                fields["script_isolation"] = isolation
        self._told_pause = self._pause()
        if self._told_pause is not None and features.CONTROL in registration.features:
            fields["paused"] = told_of(self._told_pause, time.time())
        return message(fields)

    async def _say_offline(self, registration: RegisterData) -> None:
        try:
            async with asyncio.timeout(OFFLINE_TIMEOUT_S):
                await self._client.heartbeat(await self._message(registration, "offline"))
        except (ControlPlaneError, TimeoutError) as error:
            log.warning("the control plane was not told that this agent stops: %s", error)
        else:
            log.info("told the control plane that this agent is offline")

    # ---- waiting ----------------------------------------------------------------------------------------------------

    def _interval(self) -> float:
        return self._settings.heartbeat_interval * (1 - JITTER * self._random())

    async def _rest(self, stop: Stop, until: float, note: Any) -> None:
        """Wait for the next beat; while the key is refused, a new registration ends the wait."""
        while not await stop.wait(max(0.0, min(until - time.monotonic(), self._look()))):
            if time.monotonic() >= until:
                return
            if self._pause() != self._told_pause:
                return
            if self._refused.failures and self._registration() is not None and self._seen != note:
                return

    def _look(self) -> float:
        return LOOK_S if self._refused.failures else PAUSE_LOOK_S

    def _pause(self) -> Pause | None:
        with contextlib.suppress(JournalError):
            return local_pause(self._journal, time.time())
        return self._told_pause

    async def _registered(self, stop: Stop) -> RegisterData | None:
        while (registration := self._registration()) is None:
            if await stop.wait(LOOK_S):
                return self._registration()
        return registration

    def _registration(self) -> RegisterData | None:
        """What the poller has noted; None before the first registration."""
        with contextlib.suppress(JournalError, ValidationError):
            self._seen = self._journal.note("registration")
            if self._seen is None:
                return None
            found = RegisterData.model_validate(self._seen)
            # as the poller has registered: only who holds the key is heard
            self._client.instance = self._seen.get("instance")
            return found
        return None

    @staticmethod
    async def _unless_stopped(stop: Stop, beat: Any) -> float | None:
        """The beat's answer; None when the stop came first (the beat is cut off, `offline` follows at once)."""
        task = asyncio.ensure_future(beat)
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        await stop.wait(None, done)
        if task.done():
            return float(task.result())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return None

    # ---- what is left behind ----------------------------------------------------------------------------------------

    def _succeeded(self) -> None:
        now = time.time()
        if self._failing_since is not None:
            log.info("heartbeats are answered again, after %.0f s", time.monotonic() - self._failing_since)
        self._failing_since = None
        self._refused.reset()
        self._leave_note({"lastSuccessAt": now})
        try:
            # its age is the container's health: touched after an answer, and never otherwise
            self._settings.heartbeat_file.touch(mode=0o600)
        except OSError as error:
            log.warning("%s cannot be touched: %s", self._settings.heartbeat_file, error.strerror)

    def _failed(self, error: Exception, pause: float) -> float:
        if self._failing_since is None:  # once per outage, not once per beat
            self._failing_since = time.monotonic()
            log.warning("a heartbeat failed: %s; trying on", error)
        self._leave_note({"lastError": str(error)[:300], "lastErrorAt": time.time()})
        return pause

    def _leave_note(self, news: dict[str, Any]) -> None:
        self._note |= news
        with contextlib.suppress(JournalError):  # a full disk must not stop the heart
            self._journal.leave_note("heartbeat", self._note)
