"""Messages to a Microsoft Teams channel: `sendMessage`, `sendAdaptiveCard`, `testConnection` (contract 3.9).

**The webhook's address is its secret**: whoever has it can post. The vault's wins over the job's, it must be https, and
it is in no log, no error and no result, whole or in parts.

**What counts as success.** 200 or 202, and for the old connectors (any address without `/workflows/`) a body of `1` or
none: they answer 200 with an error's text when Teams has refused the message. Workflows answer 202 before the message
is posted, so what the workflow makes of it later cannot be seen here.

**Time.** `timeout`, else 30 s, for the whole action, waits for 429 included: three attempts, `Retry-After` up to 60 s.

**In doubt.** A message whose answer never came may have been posted, and the error says so; it is never sent twice.
"""

from __future__ import annotations

import json
import platform
import re
import urllib.parse
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator

from easyalert.errors import Fault, InvalidParameter
from easyalert.netguard.target import parse_target
from easyalert.protocol.results import json_safe
from workers.sdk import (
    Connection,
    Context,
    Executor,
    ExecutorResult,
    SecretText,
    action,
    failure,
    read_connection,
    success,
)
from workers.sdk.connection import OwnersOnly
from workers.sdk.http_body import parse_json
from workers.sdk.parameters import Limited, Prose
from workers.sdk.posting import THROTTLED, Answer, Post
from workers.sdk.rich import RichParameters
from workers.sdk.rich_teams import teams_card

DEFAULT_TIMEOUT_S: Final = 30.0
MESSAGE_MAX_BYTES: Final = 28 * 1024
"""What a webhook takes (Microsoft's limits for Teams)."""

_COLOUR: Final = re.compile(r"#?([0-9A-Fa-f]{6})")
_WRAPPED: Final = re.compile(r"HTTP error (\d{3})")
_TROUBLE: Final = re.compile(r"\berror\b|\bfail", re.IGNORECASE)
_SECRET_MIN_CHARS: Final = 12
_SHOWN_CHARS: Final = 200
_MAYBE_POSTED: Final = "the message may have been posted"


class TeamsConnection(Connection):
    """One channel's webhook."""

    address: ClassVar = ()
    needs_entry: ClassVar = False

    webhook_url: SecretText = Field(
        alias="webhookUrl", max_length=4_000, description="The webhook's address, https; a secret as a whole."
    )
    ca_certificate: Annotated[str | None, OwnersOnly()] = Field(
        default=None,
        alias="caCertificate",
        description="Authorities to trust there instead of the machine's, PEM. Counts in the vault's entry only.",
    )

    @field_validator("webhook_url")
    @classmethod
    def _https(cls, value: str) -> str:
        if not value.strip().lower().startswith("https://"):
            raise ValueError("must begin with https://")
        return value.strip()

    @property
    def is_workflow(self) -> bool:
        """Whether it is a workflow's, which takes Adaptive Cards only; else an Office 365 connector's."""
        return "/workflows/" in self.webhook_url


class MessageParameters(Limited, RichParameters):
    """One message."""

    message: Prose = Field(default="", max_length=MESSAGE_MAX_BYTES, description="Its text, in Teams' markdown.")
    theme_color: str = Field(
        default="0076D7", alias="themeColor", max_length=20, description="Six hexadecimal digits; connectors only."
    )

    @field_validator("theme_color")
    @classmethod
    def _colour(cls, value: str) -> str:
        if not value.strip():
            return "0076D7"
        found = _COLOUR.fullmatch(value.strip())
        if found is None:
            raise ValueError("is no colour: six hexadecimal digits")
        return found[1]


class CardParameters(Limited):
    """One card."""

    card_json: Any = Field(alias="cardJson", description="An Adaptive Card, as an object or a text holding JSON.")

    @field_validator("card_json")
    @classmethod
    def _object(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = parse_json(value)
            except ValueError:
                raise ValueError("is no JSON") from None
        if not isinstance(value, dict) or not value:
            raise ValueError("must be an object, and not empty")
        return json_safe(value)


class ConnectionTestParameters(Limited):
    """Only the time."""


class TeamsExecutor(Executor):
    """One connection for each message; holds nothing between jobs."""

    kind = "teams"
    connection = TeamsConnection

    @action("sendMessage", idempotent=False)
    async def send_message(self, ctx: Context, params: MessageParameters) -> ExecutorResult:
        """Post a text, or a card drawn from `outputData`."""
        rich = params.is_rich
        if not rich and not params.message.strip():
            raise InvalidParameter("message", "is required, unless messageFormat is rich and outputData is given")
        connection = _connection(ctx)
        if rich:
            payload = _wrapped(teams_card(params))
        else:
            payload = _plain(connection, params.message, params.title.strip(), params.theme_color)
        return await _send(ctx, connection, params, payload, "message")

    @action("sendAdaptiveCard", idempotent=False)
    async def send_card(self, ctx: Context, params: CardParameters) -> ExecutorResult:
        """Post a card as it is given."""
        return await _send(ctx, _connection(ctx), params, _wrapped(params.card_json), "cardJson")

    @action("testConnection", idempotent=False)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Post a test message: a webhook has no other way to be tried."""
        connection = _connection(ctx)
        text = f"This message was posted by the EasyAlert agent on {platform.node()} to test a connection."
        payload = _plain(connection, text, "EasyAlert test message", "0076D7")
        return await _send(ctx, connection, params, payload, "message", test=True)


def _connection(ctx: Context) -> TeamsConnection:
    """The webhook; from here on no secret part of its address gets into a result. Raises as `read_connection`."""
    connection = read_connection(ctx, TeamsConnection)
    url = connection.webhook_url
    parse_target(url, ctx.network_policy, parameter="webhookUrl")
    parts = urllib.parse.urlsplit(url)
    pieces = [parts.path, parts.query, f"{parts.path}?{parts.query}", *re.split(r"[/@]", parts.path)]
    pieces += [value for _, value in urllib.parse.parse_qsl(parts.query)]
    ctx.hide([url, *(piece for piece in pieces if len(piece) >= _SECRET_MIN_CHARS)])
    return connection


def _plain(connection: TeamsConnection, text: str, title: str, colour: str) -> dict[str, Any]:
    """A text as the webhook takes it (contract 3.9)."""
    if connection.is_workflow:
        heading = [{"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": True}]
        body = [*(heading if title else []), {"type": "TextBlock", "text": text, "wrap": True}]
        schema = "http://adaptivecards.io/schemas/adaptive-card.json"
        return _wrapped({"type": "AdaptiveCard", "$schema": schema, "version": "1.4", "body": body})
    card: dict[str, Any] = {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": colour,
        "text": text,
    }
    return card | ({"title": title, "summary": title} if title else {})


def _wrapped(card: dict[str, Any]) -> dict[str, Any]:
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


class _TeamsPost(Post):
    """Connectors put a 429 of Teams into the text of a 200."""

    def throttled(self, answer: Answer) -> bool:
        return super().throttled(answer) or (answer.status == 200 and _wrapped_status(answer) == THROTTLED)


def _wrapped_status(answer: Answer) -> int | None:
    found = _WRAPPED.search(answer.text)
    return int(found[1]) if found else None


async def _send(
    ctx: Context,
    connection: TeamsConnection,
    params: Limited,
    payload: dict[str, Any],
    parameter: str,
    *,
    test: bool = False,
) -> ExecutorResult:
    body = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
    if len(body) > MESSAGE_MAX_BYTES:
        raise InvalidParameter(parameter, f"makes a message of {len(body)} bytes; Teams takes {MESSAGE_MAX_BYTES}")
    seconds = params.seconds(DEFAULT_TIMEOUT_S)
    post = _TeamsPost(
        ctx,
        "Teams",
        seconds,
        ca_certificate=connection.ca_certificate,
        changes=_MAYBE_POSTED,
        tests="permission" if test else None,
    )

    async def work() -> ExecutorResult:
        answer = await post.send(connection.webhook_url, {"Content-Type": "application/json"}, body)
        problem = _problem(ctx, connection, answer)
        if test:
            (post.steps.failed if problem else post.steps.passed)("permission", post.exchanged_s, problem or "posted")
        output: dict[str, Any] = {"steps": post.steps.report()} if test else {}
        if problem is None:
            done = "Teams has taken the message" + (" (a workflow posts it later)" if connection.is_workflow else "")
            return success(output | {"message": done})
        doubt = f"; {_MAYBE_POSTED}" if answer.status >= 500 else ""
        sentence = f"{'permission: ' if test else ''}{problem}{doubt}"
        fault = Fault.AGENT if answer.status in {401, 403, 404, 410} else Fault.TARGET
        return failure(sentence, output=output | {"statusCode": answer.status}, fault=fault)

    return await post.carry_out(work())


def _problem(ctx: Context, connection: TeamsConnection, answer: Answer) -> str | None:
    """Why the message was not taken; None when it was."""
    said = " ".join(ctx.redactor.text(answer.text).split())  # before it is cut: half a secret is not found
    status = answer.status
    if status in {200, 202}:
        fine = not _TROUBLE.search(said) if connection.is_workflow or status == 202 else said in {"", "1"}
        if fine:
            return None
        status = _wrapped_status(answer) or status
    shown = f": {said[:_SHOWN_CHARS]}" if said else ""
    return f"Teams refused the message (HTTP {status}; {_meaning(status)}){shown}"


def _meaning(status: int) -> str:
    if status == THROTTLED:
        return "too many messages, wait and run it again"
    if status == 413:
        return f"it is too large, the limit is about {MESSAGE_MAX_BYTES // 1024} KB"
    if status in {401, 403, 404, 410}:
        return "the webhook was removed or its address is wrong, store a new webhookUrl for the connection"
    if status >= 500:
        return "a failure of its own"
    return "it cannot be read as a message" if status == 400 else "it is not what the service says when all is well"
