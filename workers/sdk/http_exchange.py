"""One attempt of a request: sent, its redirects followed where that is wanted, its answer read up to the limit.

What has come so far can be looked at whenever the attempt ends, also when it was cut off in the middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from easyalert.errors import InvalidParameter, TargetError
from easyalert.netguard.transport import guarded_client
from workers.sdk.context import Context
from workers.sdk.http_body import HttpBody
from workers.sdk.http_redirects import MAX_REDIRECTS, REDIRECTS, Hop, next_hop
from workers.sdk.steps import Steps
from workers.sdk.stopping import time_for
from workers.sdk.web_steps import NoAnswer, WebSteps, no_answer

_CHANGES_NOTHING: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110, 9.2.1


@dataclass
class Attempt:
    """`tls` is for the origin of the first hop; others get the machine's trust and no certificate of ours."""

    ctx: Context
    hop: Hop
    seconds: float
    """For the whole of it, redirects included."""
    tls: ssl.SSLContext | None = None
    follow: bool = False
    steps: Steps = field(default_factory=Steps)
    answer: httpx.Response | None = None
    body: HttpBody | None = None
    followed: int = 0
    """Redirects that led to `answer`."""
    took_s: float = 0.0

    def __post_init__(self) -> None:
        self._watch = WebSteps(self.steps)

    @property
    def fate(self) -> str:
        """What to add to the word that no answer came: `; nothing was sent`, …; empty when nothing can have changed."""
        if self.hop.method in _CHANGES_NOTHING:
            return ""
        return "; the request may have taken effect" if self._watch.sent else "; nothing was sent"

    async def carry_out(self) -> None:
        """Raises NoAnswer, TargetError, TimeoutError at the job's own limit, and as `next_hop` and the guard do."""
        limit, began = time_for(self.ctx, self.seconds), time.monotonic()
        try:
            async with asyncio.timeout(limit), contextlib.AsyncExitStack() as stack:
                await self._read(await self._last_answer(stack, limit))
        except (httpx.TimeoutException, TimeoutError):
            if limit < self.seconds:
                raise TimeoutError from None
            where = self.hop.target.short_origin
            raise NoAnswer(f"{where} gave no complete answer within {self.seconds:g} s") from None
        except httpx.TransportError as error:
            raise no_answer(error, self.hop.target.short_origin) from None
        finally:
            self.took_s = time.monotonic() - began

    def output(self) -> dict[str, Any] | None:
        """The output of contract 3.3; of followed redirects, where the last one led. None when no answer began."""
        answer, body = self.answer, self.body
        if answer is None or body is None:
            return None
        output: dict[str, Any] = {
            "statusCode": answer.status_code,
            "headers": {name.lower(): value for name, value in answer.headers.items()},
            "body": body.redacted(self.ctx.redactor),
            "bodyParsed": body.parsed(),
            "truncated": body.truncated,
        }
        if self.followed:
            output |= {"redirectLocation": str(answer.request.url), "redirectFollowed": True}
        if 300 <= answer.status_code < 400:
            output |= {"redirectLocation": answer.headers.get("location", "unknown"), "redirectFollowed": False}
        return output

    async def _last_answer(self, stack: contextlib.AsyncExitStack, limit: float) -> httpx.Response:
        """Of the chain of redirects, its body not yet read."""
        hop, first = self.hop, self.hop.target.origin
        own = await stack.enter_async_context(self._client(limit, self.tls))
        other = own
        answer = await own.send(self._request(hop), stream=True)
        while self.follow and answer.status_code in REDIRECTS and "location" in answer.headers:
            await answer.aclose()
            if self.followed == MAX_REDIRECTS:
                raise TargetError(f"{hop.target.short_origin} redirects on after {MAX_REDIRECTS} redirects")
            self.followed += 1
            hop = next_hop(hop, answer.status_code, answer.headers["location"], self.ctx.network_policy)
            if hop.target.origin != first and self.tls is not None and other is own:
                other = await stack.enter_async_context(self._client(limit, None))
            client = own if hop.target.origin == first else other
            answer = await client.send(self._request(hop), stream=True)
        return answer

    async def _read(self, answer: httpx.Response) -> None:
        body = HttpBody(
            content_encoding=answer.headers.get("content-encoding", ""),
            content_type=answer.headers.get("content-type", ""),
        )
        self.answer, self.body = answer, body
        body.more_to_come = True
        async for piece in answer.aiter_raw():
            body.feed(piece)
            if body.full:
                break
        body.more_to_come = False
        await answer.aclose()

    def _client(self, limit: float, tls: ssl.SSLContext | None) -> httpx.AsyncClient:
        verify = True if tls is None else tls
        return guarded_client(self.ctx.network_policy, timeout=limit, verify=verify, resolver=self._watch)

    def _request(self, hop: Hop) -> httpx.Request:
        watched = {"trace": self._watch.trace}
        try:
            return httpx.Request(
                hop.method, hop.target.url, headers=list(hop.headers), content=hop.body, extensions=watched
            )
        except (httpx.InvalidURL, UnicodeError):
            raise InvalidParameter("url", "is no URL that can be sent") from None
