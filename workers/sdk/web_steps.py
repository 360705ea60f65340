"""The steps of an exchange with an HTTP service, seen from inside its client, and whether anything was sent.

::

    watch = WebSteps(steps)
    client = guarded_client(policy, timeout=30, resolver=watch)
    request = client.build_request("GET", url, extensions={"trace": watch.trace})
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx

from easyalert.errors import EasyAlertError, TargetError
from easyalert.netguard.resolver import SystemResolver
from workers.sdk.steps import StepName, Steps
from workers.sdk.tls import tls_failure

_CONNECTION: Final[dict[str, StepName]] = {"connection.connect_tcp": "tcp", "connection.start_tls": "tls"}
_SENDING: Final = ("http11.send_request_headers.started", "http2.send_request_headers.started")


class WebSteps:
    """Fills `steps` with name, tcp and tls as they happen. Of a connection that is used again there are none."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.sent = False
        """Whether a request has begun to leave, so that it may have taken effect."""
        self.connected_at = 0.0
        """When the last step of the connection was done, by the monotonic clock; 0: none yet."""
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
            self.connected_at = time.monotonic()
            self.steps.passed(name, max(0.0, took), _tls_version(info) if name == "tls" else "")
            return
        self._failed = True
        error = info.get("exception")
        said = str(error) if isinstance(error, EasyAlertError) else reason(error)
        self.steps.failed(name, max(0.0, took), said)


def _tls_version(info: dict[str, Any]) -> str:
    stream = info.get("return_value")
    made = stream.get_extra_info("ssl_object") if stream is not None else None
    return str(made.version()) if made is not None else ""


class NoAnswer(TargetError):  # noqa: N818 - the condition, as in the error tree
    """No answer came, or not the whole of it: another attempt may have more luck."""


def no_answer(error: httpx.TransportError, where: str) -> TargetError:
    """What to say of an exchange that failed. `where` is an origin; the error's own text may hold what was sent."""
    failed = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if failed is not None:
        return tls_failure(failed, where)
    said = next((words for cause in _causes(error) if (words := _of_the_system(cause))), None)
    return NoAnswer(f"no answer from {where}: {said or error or type(error).__name__}")


def reason(error: object) -> str:
    """Why an exchange failed, in words, without anything that the error quotes."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
        said = _of_the_system(cause)
        if said:
            return said
    named = (
        (httpx.ConnectTimeout, "no connection in time"),
        (httpx.TimeoutException, "no complete answer in time"),
        (httpx.ConnectError, "no connection"),
        (httpx.NetworkError, "the connection broke"),
        (httpx.RemoteProtocolError, "the connection ended"),
    )
    return next((words for kind, words in named if isinstance(error, kind)), type(error).__name__)


def _causes(error: object) -> Iterator[BaseException]:
    """What the transport says wraps what the system said."""
    while isinstance(error, BaseException):
        yield error
        error = error.__cause__ or error.__context__


def _of_the_system(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)  # the event loop puts its own words into `strerror`
    return None
