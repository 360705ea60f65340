"""Messages that the control plane passes on, to wherever it is set up to (contract 1.8 and 3.12).

No connection and no address: the agent hands the message to its own control plane, with its own key, which no job and
no executor sees. A policy's rule with `targets` does not fit these actions.

**Attempts.** At most three. After a 5xx, a 429, or no answer the next follows 1 s, then 2 s later; after a 401 (a key
that was just changed) 10 s later. Any other refusal is final. A message whose answer was lost may arrive twice.

**Length.** At most 65,536 characters; of a longer message the beginning is sent, and `truncated` says so.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from easyalert.errors import BadAnswer, ControlPlaneError, Fault, Refused, Unauthorized
from workers.sdk import Context, Executor, ExecutorResult, action, failure, success
from workers.sdk.parameters import Limited, Line, Prose
from workers.sdk.steps import Steps
from workers.sdk.stopping import at_the_jobs_limit, cancelled, time_for, until_cancelled
from workers.sdk.web_steps import WebSteps

MESSAGE_MAX_CHARS: Final = 65_536
ATTEMPT_S: Final = 15.0
DEFAULT_TIMEOUT_S: Final = 120.0
"""All attempts and the pauses between them."""
PAUSES_S: Final = (1.0, 2.0)
"""Before the second and the third attempt."""
KEY_PAUSE_S: Final = 10.0
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


def _kind(value: str) -> str:
    if not _TYPE.fullmatch(value):
        raise ValueError("must be one word, like slack, teams or email")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class NotificationParameters(Limited):
    """What to say, and by which of the control plane's ways."""

    type: Annotated[str, AfterValidator(_kind)] = Field(description="slack, teams, email, or another word it knows.")
    message: Annotated[Prose, AfterValidator(_said)] = Field(
        description="Its text; of more than 65,536 characters the first."
    )
    channel: Annotated[Line | None, BeforeValidator(_blank_is_none)] = Field(
        default=None, description="Where that way has several."
    )


class ConnectionTestParameters(Limited):
    """Nothing to choose."""


@dataclass
class _Relayed:
    """How far a message has come."""

    attempts: int = 0
    in_doubt: bool = False
    """An attempt has had no answer."""


class NotificationExecutor(Executor):
    """Holds nothing between jobs."""

    kind = "notification"

    @action("sendNotification", idempotent=False)
    async def send(self, ctx: Context, params: NotificationParameters) -> ExecutorResult:
        """Hand a message to the control plane."""
        document = {"type": params.type, "message": params.message[:MESSAGE_MAX_CHARS]}
        if params.channel is not None:
            document["channel"] = params.channel
        relayed = _Relayed()

        def output(*, delivered: bool) -> dict[str, Any]:
            cut = len(params.message) > MESSAGE_MAX_CHARS
            told = {"type": params.type, "channel": params.channel}
            return {"delivered": delivered, **told, "attempts": relayed.attempts, "truncated": cut}

        def fate() -> str:
            return "the message may have been taken" if relayed.in_doubt else "the message was not taken"

        try:
            async with asyncio.timeout(time_for(ctx, params.seconds(DEFAULT_TIMEOUT_S))):
                sent = await until_cancelled(ctx, _relay(ctx, document, relayed))
        except ControlPlaneError as error:
            doubt = f"; {fate()}" if relayed.in_doubt else ""
            return failure(f"{error}{doubt}", output=output(delivered=False), exit_code=-1, fault=error.fault)
        except TimeoutError:
            at_limit = at_the_jobs_limit(ctx)
            seconds = ctx.timeout_s if at_limit else params.seconds(DEFAULT_TIMEOUT_S)
            return failure(
                f"timed out after {seconds:g} seconds; {fate()}", output=output(delivered=False), exit_code=-1,
                fault=Fault.CONTROL_PLANE, outcome="timed_out" if at_limit else "finished",
            )  # fmt: skip
        if sent is None:
            return cancelled(f"cancelled while the control plane was asked; {fate()}", output=output(delivered=False))
        return success(output(delivered=True))

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Ask the control plane how it is; whether it can pass a message on is not tried."""
        steps = Steps()
        limit = time_for(ctx, params.seconds(ATTEMPT_S))
        try:
            async with asyncio.timeout(limit):
                done = await until_cancelled(ctx, _true(ctx.relay.health(WebSteps(steps).trace)))
        except (ControlPlaneError, TimeoutError) as error:
            said = str(error) if isinstance(error, ControlPlaneError) else f"no answer within {limit:g} s"
            status = error.status if isinstance(error, ControlPlaneError) else None
            told = {} if status is None else {"statusCode": status}
            return failure(said, output={**told, "steps": steps.report()}, fault=Fault.CONTROL_PLANE)
        if done is None:
            return cancelled("cancelled while the control plane was asked", output={"steps": steps.report()})
        return success({"message": "the control plane is well", "steps": steps.report()})


async def _true(work: Any) -> bool:
    await work
    return True


async def _relay(ctx: Context, document: dict[str, Any], relayed: _Relayed) -> bool:
    """True when the control plane has taken it. Raises ControlPlaneError, of the last attempt."""
    for pause in (*PAUSES_S, None):
        relayed.attempts += 1
        doubt, relayed.in_doubt = relayed.in_doubt, True  # until there is a word about this attempt
        try:
            await ctx.relay.notify(document, ATTEMPT_S)
        except ControlPlaneError as error:
            relayed.in_doubt = doubt or error.status is None or error.status >= 500
            if pause is None or not _may_try_again(error):
                raise
            await asyncio.sleep(KEY_PAUSE_S if error.status == 401 else pause)
        else:
            return True
    raise AssertionError  # never: the last attempt returns or raises


def _may_try_again(error: ControlPlaneError) -> bool:
    if isinstance(error, Unauthorized):
        return error.status == 401
    return not isinstance(error, Refused | BadAnswer)
