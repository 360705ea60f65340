"""What an executor may ask of the control plane: pass a message on, say how it is. The agent's key stays in here."""

from __future__ import annotations

import asyncio
from typing import Any

from easyalert.errors import Unreachable
from easyalert.settings import AgentSettings
from workers.sdk.context import Trace


class ControlPlaneRelay:
    """A connection for each request: they are rare, and a worker keeps none open."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings

    async def notify(self, document: dict[str, Any], seconds: float) -> None:
        """One attempt to hand a message over (contract 1.8). Raises ControlPlaneError."""
        from easyalert.client import ControlPlaneClient  # noqa: PLC0415 - most workers never need it

        client = ControlPlaneClient(self._settings)
        try:
            async with asyncio.timeout(seconds):
                await client.notify(document)
        except TimeoutError:
            raise Unreachable(f"the control plane did not answer within {seconds:g} s") from None
        finally:
            await client.close()

    async def health(self, trace: Trace) -> None:
        """Raises ControlPlaneError for every answer but a 200."""
        from easyalert.client import ControlPlaneClient  # noqa: PLC0415 - as above

        client = ControlPlaneClient(self._settings)
        try:
            await client.health(trace)
        finally:
            await client.close()
