"""The steps of an exchange with an HTTP service, seen from inside its client, and whether anything was sent.

::

    watch = WebSteps(steps)
    client = guarded_client(policy, timeout=30, resolver=watch)
    request = client.build_request("GET", url, extensions={"trace": watch.trace})
"""

from __future__ import annotations

import time
from typing import Any, Final

from easyalert.errors import EasyAlertError
from easyalert.netguard.resolver import SystemResolver
from workers.sdk.steps import StepName, Steps

_CONNECTION: Final[dict[str, StepName]] = {"connection.connect_tcp": "tcp", "connection.start_tls": "tls"}
_SENDING: Final = ("http11.send_request_headers.started", "http2.send_request_headers.started")


class WebSteps:
    """Fills `steps` with name, tcp and tls as they happen. Of a connection that is used again there are none."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.sent = False
        """Whether a request has begun to leave, so that it may have taken effect."""
        self._looked_up_s = 0.0
        self._failed = False
        self._began = 0.0

    async def lookup(self, host: str, port: int) -> list[str]:
        """The client's resolver: the machine's, with its time."""
        began = time.monotonic()
        try:
            with self.steps.step("name", host) as step:
                found = await SystemResolver().lookup(host, port)
                step["detail"] = ", ".join(found[:4])
        except EasyAlertError:
            self._failed = True
            raise
        finally:
            self._looked_up_s = time.monotonic() - began
        return found

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """The client's word about each thing it does (httpcore's `trace` extension)."""
        if event in _SENDING:
            self.sent = True
            return
        part, _, stage = event.rpartition(".")
        name = _CONNECTION.get(part)
        if name is None or self._failed:
            return
        if stage == "started":
            self._began = time.monotonic()
            return
        took = time.monotonic() - self._began - (self._looked_up_s if name == "tcp" else 0.0)
        if stage == "complete":
            self.steps.passed(name, max(0.0, took))
            return
        self._failed = True
        error = info.get("exception")
        self.steps.failed(name, max(0.0, took), str(error) if isinstance(error, EasyAlertError) else "failed")
