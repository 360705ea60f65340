"""Trying a request again: which ones, after what, and how long to wait in between.

Only methods that RFC 9110 calls idempotent (9.2.2) are sent again. The pause is what the answer's `Retry-After` asks
for (10.2.3), else one second, two, four, … up to 30, up to half of it taken off at random, so that many agents do not
come back in the same moment. A pause that is longer than what is left of the job's time is not begun.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from easyalert.answers import retry_after_seconds
from easyalert.errors import TargetError
from easyalert.runtime import Backoff
from workers.sdk.http_assertions import StatusRange, in_ranges, listed, status_range
from workers.sdk.http_exchange import Attempt
from workers.sdk.stopping import time_for
from workers.sdk.web_steps import NoAnswer

RETRIES_MAX: Final = 10
REPEATABLE: Final = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
NO_ANSWER: Final = "no-answer"
_NO_ANSWER: Final[StatusRange] = (0, 0)
"""Stands for it among the statuses: no answer has this one."""
USUALLY: Final = "429,502-504,no-answer"
_PAUSE_MAX_S: Final = 30.0


def retry_ranges(value: Any) -> tuple[StatusRange, ...]:
    """`"429,502-504,5xx,no-answer"`, or a list of such, as ranges of statuses. Raises ValueError."""
    return tuple(_NO_ANSWER if word == NO_ANSWER else status_range(word) for word in listed(value))


@dataclass
class Attempts:
    """All attempts of one request. After `carry_out`, however it ended, `last` and `made` tell what came of it."""

    new: Callable[[], Attempt]
    retries: int = 0
    retry_on: tuple[StatusRange, ...] = ()
    expected: tuple[StatusRange, ...] = ()
    """Statuses that are wanted, so that they are no reason to try again."""
    made: list[dict[str, Any]] = field(default_factory=list)
    """`{"statusCode" or "error", "durationMs"}`, and `pauseMs` where another attempt came after it."""

    def __post_init__(self) -> None:
        self.last = self.new()
        self._backoff = Backoff(first=1.0, cap=_PAUSE_MAX_S)
        self.too_long_s: float | None = None
        """The pause for which no time was left."""

    async def carry_out(self) -> None:
        """Raises what the last attempt raised."""
        for number in range(self.retries + 1):
            if number:
                self.last = self.new()
            failed = await self._once()
            pause = self._pause(number, failed)
            if pause is None:
                if failed is not None:
                    raise failed
                return
            self.made[-1]["pauseMs"] = round(pause * 1000)
            await asyncio.sleep(pause)

    async def _once(self) -> TargetError | None:
        told: dict[str, Any] = {"error": "ended before its answer was complete"}
        self.made.append(told)
        try:
            await self.last.carry_out()
        except TargetError as error:
            told["error"] = str(error)
            return error
        finally:
            told["durationMs"] = round(self.last.took_s * 1000)
        answer = self.last.answer
        if answer is not None:
            del told["error"]
            told["statusCode"] = answer.status_code
        return None

    def _pause(self, number: int, failed: TargetError | None) -> float | None:
        """Seconds to wait before the next attempt; None: there is none."""
        answer = self.last.answer if failed is None else None
        if number == self.retries or not self._worth_it(answer, failed):
            return None
        pause = _asked_for(answer) if answer is not None and "retry-after" in answer.headers else self._backoff.next()
        if pause < time_for(self.last.ctx, math.inf):
            return pause
        self.too_long_s = pause
        return None

    def _worth_it(self, answer: httpx.Response | None, failed: TargetError | None) -> bool:
        reasons = self.retry_on or retry_ranges(USUALLY)
        if answer is None:
            return isinstance(failed, NoAnswer) and in_ranges(0, reasons)
        return in_ranges(answer.status_code, reasons) and not in_ranges(answer.status_code, self.expected)


def _asked_for(answer: httpx.Response) -> float:
    """By the server's own clock, when it gives a date: ours may be wrong."""
    try:
        now = parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        now = None
    return retry_after_seconds(answer.headers["retry-after"], now=now, cap=math.inf)
