"""What this process knows about its registration, and the events loops wait on for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from easyalert.protocol import features

OUR_FEATURES: Final = (
    *(features.LONG_POLL, features.ACK, features.RECEIPTS),
    *(features.CANCEL, features.CONTROL, features.OUTPUT, features.INSTANCE, features.SIGNED),
    features.SEALED,
)
"""The extensions this agent speaks, as sent in its registration."""


@dataclass(frozen=True)
class Registration:
    """The control plane's answer: who we are to it, and which extensions both sides speak."""

    agent_id: str
    features: frozenset[str] = frozenset()
    long_poll_s: int = 0

    def has(self, feature: str) -> bool:
        """True when `feature` was negotiated; False means: behave by the base protocol."""
        return feature in self.features


class Session:
    """The registration in force. `ready` is set while there is one, `wanted` while a (new) one is needed.

    `taking` is set while jobs and permits may be asked for: not while another running agent holds our key. Results and
    output are delivered all the same.
    """

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.taking = asyncio.Event()
        self.wanted = asyncio.Event()
        self.wanted.set()
        self.losses = 0
        """Registrations lost since the control plane last accepted a poll: more than one calls for back-off."""
        self._current: Registration | None = None

    @property
    def current(self) -> Registration:
        """Only to be read while `ready` is set."""
        if self._current is None:
            raise RuntimeError("read before registration")
        return self._current

    def established(self, registration: Registration) -> None:
        """The control plane has answered."""
        self._current = registration
        self.wanted.clear()
        self.ready.set()
        self.taking.set()

    def renew(self) -> None:
        """Register again, because what we told has changed; the registration in force goes on meanwhile."""
        self.wanted.set()

    def lost(self) -> None:
        """401 or 403: nothing may be asked before a new registration."""
        if self.ready.is_set():
            self.losses += 1
        self.ready.clear()
        self.taking.clear()
        self.wanted.set()

    def superseded(self) -> None:
        """Another running agent holds our key (409): what we have is reported, nothing is taken before a new one."""
        self.taking.clear()
        self.wanted.set()

    def confirmed(self) -> None:
        """A poll was accepted: this registration is good."""
        self.losses = 0
