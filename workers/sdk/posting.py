"""One message to a chat service over HTTPS: through the address guard, patient with 429, honest about what may be done.

::

    post = Post(ctx, "Slack", params.seconds(30), trust=context)
    result = await post.carry_out(send(post))       # a result, also when it is cancelled or times out
    answer = await post.send("https://…", headers, body)

**429.** Up to three attempts, each after the `Retry-After` that was asked for: 5 s where none was, never more than 60
(contract 3.6), never beyond the action's own limit. A 429 is a clear no, so nothing is ever posted twice.

**In doubt.** Once the request is on its way, a missing answer means that the message may have been posted; the error
says so. Nothing else is sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import httpx

from easyalert import __version__
from easyalert.errors import TargetError
from easyalert.netguard.transport import guarded_client
from workers.sdk.context import Context
from workers.sdk.http_body import HttpBody
from workers.sdk.result import ExecutorResult, failure
from workers.sdk.steps import StepName, Steps
from workers.sdk.stopping import at_the_jobs_limit, cancelled, time_for, until_cancelled
from workers.sdk.tls import tls_context
from workers.sdk.web_steps import WebSteps, reason

ATTEMPTS: Final = 3
PAUSE_S: Final = 5
PAUSE_MAX_S: Final = 60
THROTTLED: Final = 429


@dataclass(frozen=True)
class Answer:
    """What the service said. `text` is its body, at most a megabyte."""

    status: int
    headers: httpx.Headers
    text: str

    @property
    def pause_s(self) -> int:
        """Seconds to wait before the next attempt."""
        asked = self.headers.get("retry-after", "").strip()
        return min(PAUSE_MAX_S, int(asked[:10])) if asked.isdecimal() and asked.isascii() else PAUSE_S


class Post:
    """The requests of one action. `service` is its name in sentences.

    `changes` says what may have happened when an answer never came; None: nothing is changed. `tests`: a connection is
    tested, and that is the step after TLS.
    """

    def __init__(
        self,
        ctx: Context,
        service: str,
        seconds: float,
        *,
        ca_certificate: str | None = None,
        changes: str | None = None,
        tests: StepName | None = None,
    ) -> None:
        self._watch = WebSteps(Steps())
        self.steps = self._watch.steps
        self.exchanged_s = 0.0
        """How long the last exchange took once it was connected."""
        self._ctx = ctx
        self._service = service
        self._seconds = seconds
        self._trust = tls_context(ca_certificate, verify=True, connection_id=ctx.connection_id)
        self._changes = changes
        self._tests = tests

    async def carry_out(self, work: Coroutine[Any, Any, ExecutorResult]) -> ExecutorResult:
        """`work` within the limits of action and job; an early end is a result, too."""
        try:
            done = await until_cancelled(self._ctx, self._limited(work))
        except TargetError as error:
            sentence, output = self._ended(str(error))
            return failure(sentence, exit_code=-1, output=output)
        except TimeoutError:
            sentence, output = self._ended(f"timed out after {self._ctx.timeout_s} seconds")
            return failure(sentence, exit_code=-1, output=output, outcome="timed_out")
        if done is None:
            sentence, output = self._ended(f"cancelled while waiting for {self._service}")
            return cancelled(sentence, output=output)
        return done

    def _ended(self, sentence: str) -> tuple[str, dict[str, Any] | None]:
        """What to say of an early end, and the output."""
        if self._changes:
            sentence += f"; {self._changes}" if self._watch.sent else "; nothing was sent"
        if self._tests is None:
            return sentence, None
        steps = self.steps.report()
        if not steps or steps[-1]["ok"]:
            self.steps.failed(self._tests, 0.0, sentence)
        steps = self.steps.report()
        return f"{steps[-1]['step']}: {sentence}", {"steps": steps}

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """POST; the answer, of whatever status. Raises TargetError for none, and as the address guard does."""
        for attempt in range(1, ATTEMPTS + 1):
            answer = await self._once(url, headers, body)
            if not self.throttled(answer):
                break
            self._watch.sent = False  # it was refused before anything was done
            if attempt == ATTEMPTS or answer.pause_s >= self._left():
                break
            await asyncio.sleep(answer.pause_s)
        return answer

    def throttled(self, answer: Answer) -> bool:
        """Whether the service asks to come again later. Services that say it in other ways override this."""
        return answer.status == THROTTLED

    async def _limited(self, work: Coroutine[Any, Any, ExecutorResult]) -> ExecutorResult:
        limit = time_for(self._ctx, self._seconds)
        self._deadline = time.monotonic() + limit
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            if at_the_jobs_limit(self._ctx):
                raise
            raise TargetError(f"{self._service} gave no answer within {self._seconds:g} s") from None

    async def _once(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        host = httpx.URL(url).host
        request = httpx.Request(
            "POST",
            url,
            headers={"User-Agent": f"easyalert-agent/{__version__}", "Accept-Encoding": "identity", **headers},
            content=body,
            extensions={"trace": self._watch.trace},
        )
        try:
            async with guarded_client(
                self._ctx.network_policy, timeout=self._left() + 1, verify=self._trust, resolver=self._watch
            ) as client:
                began = time.monotonic()
                answer = await client.send(request, stream=True)
                kind = answer.headers
                text = HttpBody(
                    content_encoding=kind.get("content-encoding", ""), content_type=kind.get("content-type", "")
                )
                async for piece in answer.aiter_raw():
                    text.feed(piece)
                    if text.full:
                        break
                await answer.aclose()
        except httpx.TransportError as error:
            # not its text: that may hold the URL, and a webhook's URL is its secret
            raise TargetError(f"no answer from {host} ({reason(error)})") from None
        self.exchanged_s = time.monotonic() - max(began, self._watch.connected_at)
        return Answer(answer.status_code, answer.headers, text.text())

    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())
