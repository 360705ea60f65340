"""Dialling several addresses of one name: the first that answers wins (RFC 8305, without its preference for IPv6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

# RFC 8305: the next address gets its try when the one before has been silent for this long.
_NEXT_ADDRESS_AFTER_S: Final = 0.25

T = TypeVar("T")


async def first_to_answer(
    addresses: Sequence[str],
    dial: Callable[[str], Coroutine[Any, Any, T]],
    discard: Callable[[T], Awaitable[None]],
) -> tuple[str, T]:
    """The first connection and its address. `discard` closes one that came in the same instant as the winner.

    `addresses` is not empty. Raises what the last attempt raised when none succeeds.
    """
    attempts: dict[asyncio.Task[T], str] = {}
    failure: BaseException | None = None
    waiting = list(addresses)
    try:
        while waiting or any(not attempt.done() for attempt in attempts):
            if waiting:
                address = waiting.pop(0)
                attempts[asyncio.create_task(dial(address))] = address
            running = [attempt for attempt in attempts if not attempt.done()]
            patience = _NEXT_ADDRESS_AFTER_S if waiting else None
            done, _ = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if attempt.exception() is None:
                    return attempts.pop(attempt), attempt.result()
                failure = attempt.exception()
    finally:
        await _abandon(list(attempts), discard)
    raise failure or ConnectionError("no address to dial")


async def _abandon(attempts: list[asyncio.Task[T]], discard: Callable[[T], Awaitable[None]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if not isinstance(outcome, BaseException):
            await discard(outcome)
