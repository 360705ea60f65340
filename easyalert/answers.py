"""The one edge where HTTP's failures become ours: statuses, `Retry-After`, and every exception of httpx."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from easyalert.errors import BadAnswer, ControlPlaneError, KeyInUse, RateLimited, Refused, Unauthorized, Unreachable
from easyalert.protocol import paths

RETRY_AFTER_CAP_S: Final = 45.0
"""A pause asked for is obeyed up to here. One header must not silence an agent for hours, and what waits has to be
delivered within a minute of the control plane's return, however long a pause was asked for just before."""
RETRY_AFTER_DEFAULT_S: Final = 5.0
REFUSAL_MAX_BYTES: Final = 8192
_SENTENCE_MAX_CHARS: Final = 600

_NO_ANSWER: Final = (
    *(httpx.TimeoutException, httpx.NetworkError, httpx.ProxyError, httpx.RemoteProtocolError),
    OSError,
)


def check_status(code: int, headers: Mapping[str, str]) -> None:
    """Raise what a status means (contract 1.9); nothing for 2xx."""
    if 200 <= code < 300:
        return
    if code in {401, 403}:
        raise Unauthorized(
            f"the control plane does not accept this agent's key (HTTP {code}); "
            "put a valid AGENT_API_KEY into the agent's settings and restart it",
            status=code,
        )
    if code == 429:
        pause = retry_after_seconds(headers.get("retry-after"))
        raise RateLimited(f"the control plane asks for a pause of {pause:.0f} s (HTTP 429)", retry_after=pause)
    if code >= 500 or code == 408:
        raise Unreachable(f"the control plane has a problem of its own (HTTP {code})", status=code)
    if 300 <= code < 400:
        raise Refused(
            f"the control plane redirects (HTTP {code}), which agents never follow; "
            "set AGENT_API_URL to the address it really has",
            status=code,
        )
    raise Refused(f"the control plane refuses the request (HTTP {code})", status=code)


def check_key_in_use(body: bytes) -> None:
    """Raise KeyInUse when a 409's body says so (feature instance); nothing for any other."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict) or document.get("code") != paths.KEY_IN_USE:
        return
    said = document.get("error")
    # foreign text on its way to a log and a terminal
    sentence = "".join(c for c in said if c.isprintable())[:_SENTENCE_MAX_CHARS] if isinstance(said, str) else ""
    raise KeyInUse(sentence or "another agent uses this key", status=409)


def retry_after_seconds(value: str | None, *, now: float | None = None, cap: float = RETRY_AFTER_CAP_S) -> float:
    """The pause of a `Retry-After` header (RFC 9110, 10.2.3): seconds or a date, from 0 to `cap`."""
    if value is None:
        return RETRY_AFTER_DEFAULT_S
    try:
        seconds = float(value.strip())
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - (time.time() if now is None else now)
        except (ValueError, OverflowError):
            return RETRY_AFTER_DEFAULT_S
    # written so that NaN ends at the cap
    return max(0.0, seconds) if seconds <= cap else cap


def map_error(error: Exception) -> ControlPlaneError:
    """Our error for one of httpx or of the system. Its text holds no URL."""
    what = type(error).__name__
    if isinstance(error, _NO_ANSWER):
        return Unreachable(
            f"the control plane does not answer ({what}{_reason(error)}); check AGENT_API_URL and network"
        )
    if isinstance(error, httpx.DecodingError):
        return BadAnswer(f"the control plane's answer cannot be decoded ({what})")
    return Refused(f"the request to the control plane cannot be made ({what}); check AGENT_API_URL")


def _reason(error: Exception) -> str:
    text = str(error)
    # httpx puts URLs into few of its texts, but one of them would carry a query
    return f": {text[:200]}" if text and "://" not in text else ""
