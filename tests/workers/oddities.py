"""An executor of a third party that does everything wrong, and one that is in order."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from importlib.metadata import EntryPoint

from pydantic import Field

from easyalert.errors import TargetError
from workers.registry import ENTRY_POINTS
from workers.sdk import Context, Executor, ExecutorResult, Parameters, action, failure, success


class Nothing(Parameters):
    """No parameters."""


class Counted(Parameters):
    """One."""

    n: int = Field(ge=0)


class Odd(Executor):
    kind = "odd"

    @action("raise", idempotent=False)
    async def raise_it(self, ctx: Context, params: Nothing) -> ExecutorResult:
        raise ValueError("the password is hunter2hunter2")

    @action("target", idempotent=False)
    async def target(self, ctx: Context, params: Nothing) -> ExecutorResult:
        raise TargetError("the target refused " + "x" * 2000)

    @action("exit", idempotent=False)
    async def exit(self, ctx: Context, params: Nothing) -> ExecutorResult:
        sys.exit(3)

    @action("cancel", idempotent=False)
    async def cancel(self, ctx: Context, params: Nothing) -> ExecutorResult:
        raise asyncio.CancelledError

    @action("none", idempotent=False)
    async def none(self, ctx: Context, params: Nothing) -> ExecutorResult:
        return None  # type: ignore[return-value]

    @action("wait", idempotent=False)
    async def wait(self, ctx: Context, params: Nothing) -> ExecutorResult:
        await asyncio.sleep(60)
        return success()

    @action("impatient", idempotent=False)
    async def impatient(self, ctx: Context, params: Nothing) -> ExecutorResult:
        raise TimeoutError

    @action("nan", idempotent=True)
    async def nan(self, ctx: Context, params: Nothing) -> ExecutorResult:
        return success({"n": float("nan"), "s": "\ud800", "b": b"bytes", "o": object})

    @action("huge", idempotent=True)
    async def huge(self, ctx: Context, params: Nothing) -> ExecutorResult:
        return success({"text": "x" * 17_000_000})

    @action("leak", idempotent=True)
    async def leak(self, ctx: Context, params: Nothing) -> ExecutorResult:
        credential = ctx.require_credential()
        text = "y" * 490 + credential["password"]
        return failure(text, output={"seen": credential["password"], credential["password"]: 1})

    @action("send", idempotent=False)
    async def send(self, ctx: Context, params: Nothing) -> ExecutorResult:
        ctx.bind_credential(ctx.params["to"])
        return success({"to": ctx.params["to"]})

    @action("count", idempotent=lambda params: params.n == 0)
    async def count(self, ctx: Context, params: Counted) -> ExecutorResult:
        return success({"n": params.n})

    @action("block", idempotent=False)
    async def block(self, ctx: Context, params: Nothing) -> ExecutorResult:
        time.sleep(60)  # noqa: ASYNC251 - that is the mistake
        return success()

    @action("die", idempotent=False)
    async def die(self, ctx: Context, params: Nothing) -> ExecutorResult:
        os._exit(9)


def foreign() -> dict[str, EntryPoint]:
    """As the entry point of an installed distribution."""
    return {"odd": EntryPoint("odd", f"{__name__}:Odd", ENTRY_POINTS)}
