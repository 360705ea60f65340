"""What an API server says when it refuses: its `Status` object, as kubectl words it.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

_MESSAGE_MAX_CHARS: Final = 65_536
_FIELD_CONFLICT: Final = "FieldManagerConflict"
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_LOGIN: Final = "You must be logged in to the server"
_HINTS: Final = {
    "Unauthorized": "the credential is not accepted; deliver a new kubeconfig for this connection",
    "Forbidden": "the credential may not do that; the cluster's RBAC has to allow it",
    "TooManyRequests": "the cluster is overloaded; try again later",
}


class ApiError(Exception):
    """The API server's refusal. `str` is kubectl's sentence."""

    def __init__(
        self, status: int, reason: str, message: str, *, retry_after: float | None = None, field_conflict: bool = False
    ) -> None:
        unknown = reason == "Unauthorized"
        super().__init__(f"error: {_LOGIN} ({reason})" if unknown else f"Error from server ({reason}): {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        """Seconds the server asks to wait; None: it does not."""
        self.field_conflict = field_conflict
        """Another manager owns fields that were to be applied: waiting does not help."""

    @property
    def sentence(self) -> str:
        """For a result's `error`: what was said, and what to do where that is known."""
        hint = _HINTS.get(self.reason)
        return f"{self.message} ({self.status} {self.reason})" + (f"; {hint}" if hint else "")


def answer_error(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """The error of an answer that is none of 2xx, whatever its body is."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict) and told.get("kind") == "Status":
        return status_error(told, headers, status)
    if 300 <= status < 400:
        return ApiError(status, "Redirect", "the server redirects elsewhere; that is not followed")
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return ApiError(status, _REASONS.get(status, "Unknown"), text or "no more was said", retry_after=_seconds(headers))


def status_error(told: Mapping[str, Any], headers: Mapping[str, str] | None = None, status: int = 0) -> ApiError:
    """The error of a `Status` object, of an answer or of a watch."""
    code = told.get("code")
    status = status or (code if isinstance(code, int) else 500)
    reason = told.get("reason")
    message = told.get("message")
    details = told.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    conflict = any(
        isinstance(cause, dict) and cause.get("reason") == _FIELD_CONFLICT
        for cause in (causes if isinstance(causes, list) else ())
    )
    pause = _seconds(headers or {})
    if pause is None and isinstance(details, dict) and isinstance(details.get("retryAfterSeconds"), int):
        pause = float(max(0, details["retryAfterSeconds"])) or None
    return ApiError(
        status,
        reason if isinstance(reason, str) and reason else _REASONS.get(status, "Unknown"),
        (message if isinstance(message, str) and message else "no more was said")[:_MESSAGE_MAX_CHARS],
        retry_after=pause,
        field_conflict=conflict,
    )


def _seconds(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "").strip()
    return float(value) if value.isdecimal() and len(value) < 7 else None
