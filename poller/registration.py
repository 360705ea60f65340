"""Registration: at the start, after a 401 or 403, and when this agent's capabilities or its delivery key have changed.

The control plane being away never ends the process, and a key that is not accepted is tried ever more rarely. While
another running agent holds the key, it is tried every few seconds: that one may be stopped at any time.
"""

from __future__ import annotations

import base64
import logging
import platform
import time
from typing import Any, Final

import easyalert
from easyalert.delivery_key import public_delivery_key
from easyalert.errors import ControlPlaneError, KeyInUse, RateLimited
from easyalert.protocol import features
from easyalert.protocol.messages import RegisterData, RegisterRequest
from easyalert.runtime import Backoff
from poller.interrupt import unless_stopped
from poller.parts import Parts
from poller.session import OUR_FEATURES, Registration

log = logging.getLogger(__name__)

NOTE: Final = "registration"
"""`{"agentId", "features", "instance", "at"}`, for the heartbeat and for people."""
CAPABILITIES_NOTE: Final = "capabilities"
"""Kinds of executors, left by the workers."""
REPEATABLE_NOTE: Final = "repeatable"
"""Actions that may run twice, left by the workers before the capabilities."""
_FIRST_CAPABILITIES_S: Final = 1.0
_LOOK_S: Final = 2.0
_REJECTED_CAP_S: Final = 45.0
"""It may be a gateway that refuses everything while the control plane behind it is away: when that is over, the results
that wait have a minute."""
_PART: Final = "registration"
_Told = tuple[list[str] | None, str | None]
"""Capabilities and public key."""


class Registrar:
    """Keeps `session` registered."""

    def __init__(
        self,
        parts: Parts,
        instance: str,
    ) -> None:
        self._settings = parts.settings
        self._client = parts.client
        self._journal = parts.journal
        self._session = parts.session
        self._condition = parts.condition
        self._stop = parts.stop
        self._instance = instance
        self._told: _Told = (None, None)
        self._away = Backoff(first=1, cap=30)
        self._rejected = Backoff(first=5, cap=_REJECTED_CAP_S)
        self._in_use = Backoff(first=2, cap=10)

    async def run(self) -> None:
        """The loop. Raises JournalError."""
        await self._first_capabilities()
        while not self._stop.is_set:
            if self._session.wanted.is_set():
                await self._stop.wait(self._pause_before())
                if not self._stop.is_set:
                    await self._stop.wait(await self._attempt())
            else:
                await self._stop.wait(_LOOK_S, self._session.wanted)
                if self._has_changed():
                    self._session.renew()

    async def _first_capabilities(self) -> None:
        """On the very first start the workers may need a moment; a registration without the list is completed later."""
        end = time.monotonic() + _FIRST_CAPABILITIES_S
        while self._capabilities() is None and time.monotonic() < end:
            if await self._stop.wait(0.02):
                return

    def _capabilities(self) -> list[str] | None:
        note = self._journal.note(CAPABILITIES_NOTE)
        return sorted(kind for kind in note if isinstance(kind, str)) if isinstance(note, list) else None

    def _public_key(self) -> str | None:
        """Made before the agent's programs start; None: it is lost, and nothing can be sealed to this agent for now."""
        key = public_delivery_key(self._settings.delivery_key_path)
        return None if key is None else base64.b64encode(key).decode()

    def _has_changed(self) -> bool:
        # what is gone for now is what was told: the workers leave both anew when they start
        found = (self._capabilities(), self._public_key())
        return any(now is not None and now != told for now, told in zip(found, self._told, strict=True))

    def _pause_before(self) -> float:
        """A key that registers and is then refused again would otherwise register without a pause, for ever."""
        if self._session.losses > 1:
            return self._rejected.next()
        return 0.0

    async def _attempt(self) -> float:
        """One request; the seconds to wait before the next."""
        telling = (self._capabilities(), self._public_key())
        try:
            data = await unless_stopped(self._stop, self._client.register(self._request(*telling)))
        except RateLimited as error:
            self._condition.problem(_PART, str(error))
            return error.retry_after
        except KeyInUse as error:
            sentence = f"{error}. This agent asks again by itself, and takes no jobs meanwhile"
            self._condition.problem(_PART, sentence)
            self._condition.key_in_use(sentence)
            self._session.superseded()
            return self._in_use.next()
        except ControlPlaneError as error:
            self._condition.problem(_PART, str(error))
            return (self._away if error.retryable else self._rejected).next()
        if data is None:
            return 0.0
        self._told = telling
        self._away.reset()
        self._in_use.reset()
        self._condition.key_in_use(None)
        if self._session.losses <= 1:
            self._rejected.reset()
        self._established(data)
        return 0.0

    def _request(self, capabilities: list[str] | None, public_key: str | None) -> RegisterRequest:
        known: dict[str, Any] = {} if capabilities is None else {"capabilities": capabilities}
        if public_key is not None:
            known["public_key"] = public_key
        repeatable = self._journal.note(REPEATABLE_NOTE)
        if isinstance(repeatable, list):
            known["repeatable"] = [action for action in repeatable if isinstance(action, str)]
        return RegisterRequest(
            hostname=platform.node() or "unknown",
            agent_name=self._settings.agent_name,
            version=easyalert.__version__,
            platform=platform.system() or "Linux",
            architecture=platform.machine() or "unknown",
            max_concurrent_jobs=self._settings.max_concurrent_jobs,
            features=[name for name in OUR_FEATURES if name != features.SEALED or public_key is not None],
            instance=self._instance,
            **known,
        )

    def _established(self, data: RegisterData) -> None:
        spoken = frozenset(data.features) & frozenset(OUR_FEATURES)
        longest = min(data.long_poll_seconds, self._settings.long_poll_seconds)
        registration = Registration(
            agent_id=data.agent_id,
            features=spoken,
            long_poll_s=max(0, longest) if features.LONG_POLL in spoken else 0,
        )
        self._condition.solved(_PART)
        log.info("registered as %s; extensions: %s", data.agent_id, ", ".join(sorted(spoken)) or "none")
        note = {"agentId": data.agent_id, "features": sorted(spoken), "at": time.time()}
        if features.INSTANCE in spoken:
            note["instance"] = self._client.instance = self._instance
        self._journal.leave_note(NOTE, note)
        self._session.established(registration)
