"""The host's figures for the heartbeat (contract 1.6); each group by itself, so that one that fails hides no other."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, Final

import psutil

from easyalert.protocol.messages import SystemMetrics

log = logging.getLogger(__name__)

_MIB: Final = 2**20
_GIB: Final = 2**30

Group = Callable[[], dict[str, Any]]


def cpu() -> dict[str, Any]:
    """Percent since the previous sample of this process."""
    return {"cpu_percent": round(psutil.cpu_percent(interval=None), 1)}


def memory() -> dict[str, Any]:
    """Of the host, not of the agent."""
    found = psutil.virtual_memory()
    return {
        "memory_percent": round(found.percent, 1),
        "memory_used_mb": found.used // _MIB,
        "memory_total_mb": found.total // _MIB,
    }


def disk() -> dict[str, Any]:
    """Of the root file system."""
    found = psutil.disk_usage("/")
    return {
        "disk_percent": round(found.percent, 1),
        "disk_used_gb": round(found.used / _GIB, 1),
        "disk_total_gb": round(found.total / _GIB, 1),
    }


def load() -> dict[str, Any]:
    """1, 5 and 15 minutes; null where the operating system has none."""
    try:
        one, five, fifteen = os.getloadavg()
    except (OSError, AttributeError):
        return {"load_average": None}
    return {"load_average": (round(one, 2), round(five, 2), round(fifteen, 2))}


GROUPS: Final[tuple[Group, ...]] = (cpu, memory, disk, load)


class HostMetrics:
    """Samples the groups. The first CPU figure covers the time since construction."""

    def __init__(self, groups: tuple[Group, ...] = GROUPS) -> None:
        self._groups = groups
        self._failing: set[str] = set()
        self.sample()

    def sample(self) -> SystemMetrics:
        """What could be measured; never raises."""
        found: dict[str, Any] = {}
        for group in self._groups:
            try:
                found |= group()
            except Exception as error:  # noqa: BLE001 - a platform's oddity must never cost the heartbeat
                if group.__name__ not in self._failing:  # once, not every 30 s
                    self._failing.add(group.__name__)
                    log.warning("the host's %s figures cannot be read: %s", group.__name__, type(error).__name__)
        return SystemMetrics(**found)
