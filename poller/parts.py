"""What every loop of the poller works with; made once, in `program.py`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from easyalert.client import ControlPlaneClient
from easyalert.journal import Journal
from easyalert.runtime import Stop
from easyalert.settings import AgentSettings
from poller.condition import Condition
from poller.dispatch import Dispatch
from poller.session import Session


@dataclass(frozen=True)
class Parts:
    """One process's one of each."""

    settings: AgentSettings
    client: ControlPlaneClient
    journal: Journal
    session: Session
    condition: Condition
    dispatch: Dispatch
    stop: Stop
    """Set by SIGTERM: nothing more is taken."""
    end: Stop
    """Set when everything that could be reported was: later than `stop`."""
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when jobs were taken: from now on there is something that can be cancelled."""
    asked_again: set[str] = field(default_factory=set)
    """Keys of ended jobs that were handed out again: an answer to a report sent before that does not settle them."""
