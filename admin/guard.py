"""What stands before every route: who asks, from where, how often, how much. No route can forget it, as none is asked.

The order is the security decision. Whoever is not the token's holder can neither use up the holder's requests nor make
this process read a body; a browser on this machine that a foreign page has lured here is refused before anything else.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from admin.answers import failure
from admin.limits import SlidingWindow

log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = 1_048_576
REQUESTS_PER_MINUTE: Final = 60
FAILURES_PER_MINUTE: Final = 10
OPEN_PATH: Final = "/health"

_LOCAL_HOST: Final = re.compile(r"(127\.0\.0\.1|localhost)(:[0-9]{1,5})?")
_DRAIN_BYTES: Final = 16 * MAX_BODY_BYTES
_ANSWER_HEADERS: Final = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]


class Guard:
    """An ASGI application that passes on only what may pass. Answers 400, 401, 403, 429 itself, in JSON."""

    def __init__(self, app: ASGIApp, *, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._token_digest = _digest(token.encode())
        self._requests = SlidingWindow(REQUESTS_PER_MINUTE, 60, clock)
        self._failures = SlidingWindow(FAILURES_PER_MINUTE, 60, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. The server is set to send nothing but HTTP; anything else goes unanswered."""
        if scope["type"] != "http":
            return
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *_ANSWER_HEADERS]}
            await send(message)

        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, _limited(receive), send_marked)
        except ClientDisconnect:
            log.info("a client went away in the middle of its request")
        except Exception:
            log.exception("the admin API made a mistake on %s %s", scope["method"], scope["path"])
            if not started:
                await failure(500, "the admin process made a mistake; its log says which")(scope, receive, send_marked)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        if not _asked_by_local_name(scope):
            return failure(403, "the admin API answers by the names 127.0.0.1 and localhost only")
        if _is_foreign(scope):
            return failure(403, "the admin API does not answer to web pages")
        if any(character < " " or character == "\x7f" for character in scope["path"]):
            return failure(400, "the path, or the connection id in it, holds a control character")
        if scope["path"] == OPEN_PATH:
            return None
        return self._too_many() if self._has_token(scope) else self._unauthorized()

    def _has_token(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not given[0].startswith(b"Bearer "):
            return False
        # Digests, because their comparison takes the same time for any length; bytes, because a header may hold any.
        return hmac.compare_digest(_digest(given[0].removeprefix(b"Bearer ")), self._token_digest)

    def _too_many(self) -> JSONResponse | None:
        pause = self._requests.take()
        if pause is None:
            return None
        sentence = f"more than {REQUESTS_PER_MINUTE} requests in a minute; ask again in {pause} s"
        return failure(429, sentence, {"Retry-After": str(pause)})

    def _unauthorized(self) -> JSONResponse:
        pause = self._failures.take()
        if pause is not None:
            return failure(429, f"too many requests without the token; wait {pause} s", {"Retry-After": str(pause)})
        return failure(
            401,
            "send 'Authorization: Bearer <token>'; the token is ADMIN_TOKEN, else in the file admin_token of STATE_DIR",
            {"WWW-Authenticate": "Bearer"},
        )


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _all(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for key, value in scope["headers"] if key == name]


def _asked_by_local_name(scope: Scope) -> bool:
    # A foreign page can point its own name at 127.0.0.1 (DNS rebinding), but cannot make the browser send ours.
    # Any port: people reach this one through tunnels, and a port tells nothing about who asks.
    hosts = _all(scope, b"host")
    return len(hosts) == 1 and _LOCAL_HOST.fullmatch(hosts[0]) is not None


def _is_foreign(scope: Scope) -> bool:
    own = {f"http://{host}" for host in _all(scope, b"host")}
    return any(origin not in own for origin in _all(scope, b"origin")) or any(
        site not in {"same-origin", "none"} for site in _all(scope, b"sec-fetch-site")
    )


def _limited(receive: Receive) -> Receive:
    """Count what really arrives; a chunked body announces no length."""
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen <= MAX_BODY_BYTES:
            return message
        # Taken in and thrown away up to a bound: closing on a client that still sends would cost it our answer.
        while message.get("more_body") and seen <= _DRAIN_BYTES:
            message = await receive()
            seen += len(message.get("body", b""))
        # Contract 5 calls this bad JSON, status 400, which sends people looking for a comma; 413 says what is wrong.
        raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes", {"Connection": "close"})

    return counting
