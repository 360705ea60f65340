"""What a service refuses, each with a stable token for programs and a sentence for people."""

from __future__ import annotations

from typing import ClassVar

from easyalert.errors import EasyAlertError


class ServiceError(EasyAlertError):
    """A request that cannot be granted. `code` is stable; the text says what to do about it."""

    code: ClassVar[str] = "refused"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.token = code or self.code


class NotFoundError(ServiceError):
    """What the request names does not exist."""

    code = "not_found"


class InvalidError(ServiceError):
    """The request is understood and wrong; the sentence names the field."""

    code = "invalid_request"


class ConflictError(ServiceError):
    """The request does not fit the present state."""

    code = "conflict"


class KeyInUseError(ConflictError):
    """Another running agent holds the key. `retry_after`: seconds until it is free unless the holder is heard of."""

    code = "key_in_use"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnauthorizedError(ServiceError):
    """No usable credential."""

    code = "unauthorized"


class ForbiddenError(ServiceError):
    """A good credential whose scope is too small."""

    code = "forbidden"


class ThrottledError(ServiceError):
    """Too many bad credentials from everybody together. `retry_after` in seconds."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after
