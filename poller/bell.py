"""One tap on the wake-up socket, heard by every loop that waits for it."""

from __future__ import annotations

import asyncio


class Bell(asyncio.Event):
    """Setting it sets every listener's event; each listener clears its own."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[asyncio.Event] = []

    def listener(self) -> asyncio.Event:
        """An event that is set at every ring from now on."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    def set(self) -> None:
        """Ring."""
        for event in self._listeners:
            event.set()
