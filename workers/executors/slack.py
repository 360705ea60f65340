"""Slack messages: `sendMessage`, `updateMessage`, `addReaction`, `testConnection` (contract 3.6).

**The way.** Slack's SDK makes the requests and reads the answers; this agent carries them, through the address guard,
so that no proxy of the environment and no other host sees the token. It goes to slack.com and nowhere else, unless the
owner's vault entry has an `apiUrl` (Slack for government, a relay inside the network).

**Time.** `timeout`, else 30 s, for the whole action, waits for 429 included (three attempts, `Retry-After` up to 60 s).

**In doubt.** A message whose answer never came may have been posted, and the error says so; it is never sent twice. A
reaction that is there already is a success: the action may be repeated.

**Texts.** `message` is sent as it is, with the mentions and links that its author wrote. What a rich message takes from
`outputData` is escaped (`workers.sdk.rich_slack`).
"""

from __future__ import annotations

import json
import logging
import re
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, field_validator
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from easyalert.errors import Fault, InvalidParameter, TargetError
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
from workers.sdk.parameters import Limited, Line, Prose, Text
from workers.sdk.posting import Post
from workers.sdk.rich import RichParameters
from workers.sdk.rich_slack import BLOCKS_MAX, slack_message
from workers.sdk.slack_replies import explained

API_URL: Final = "https://slack.com/api/"
DEFAULT_TIMEOUT_S: Final = 30.0
TEXT_MAX_CHARS: Final = 40_000

_TS: Final = re.compile(r"\d{1,12}\.\d{1,6}", re.ASCII)
_EMOJI: Final = re.compile(r"[^\s:]{1,100}(::skin-tone-[2-6])?")
_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,500}")
_POSTING: Final = ("chat:write", "bot", "client", "post")
"""Scopes, or beginnings of them, with which a token may post; the last three are of classic apps."""
_MAYBE_POSTED: Final = "the message may have been posted"
_MAYBE_CHANGED: Final = "it may have taken effect; running it again does no harm"

_UNSURE: Final = frozenset({"fatal_error", "internal_error", "service_unavailable", "request_timeout"})
"""Slack's own troubles: its reference says that some of the work may have been done."""

# A logger of its own: the SDK writes whole messages at DEBUG.
_QUIET: Final = logging.getLogger("slack_sdk")
_QUIET.setLevel(logging.WARNING)


class SlackConnection(Connection):
    """The bot."""

    address: ClassVar = ()

    bot_token: SecretText = Field(alias="botToken", description="Its token, `xoxb-…`; sent to slack.com only.")
    api_url: Annotated[str, OwnersOnly()] = Field(
        default=API_URL,
        alias="apiUrl",
        description="Where Slack's API is, if it is not slack.com: https. Counts in the vault's entry only.",
    )
    ca_certificate: Annotated[str | None, OwnersOnly()] = Field(
        default=None,
        alias="caCertificate",
        description="Authorities to trust there instead of the machine's, PEM. Counts in the vault's entry only.",
    )

    @field_validator("bot_token")
    @classmethod
    def _one_word(cls, value: str) -> str:
        if not _TOKEN.fullmatch(value.strip()):
            raise ValueError("is no token: it holds a space or a character beyond ASCII")
        return value.strip()

    @field_validator("api_url")
    @classmethod
    def _https(cls, value: str) -> str:
        if not value.strip().lower().startswith("https://"):
            raise ValueError("must begin with https://")
        return value.strip().rstrip("/") + "/"


class _OfMessage(Limited):
    channel: Line = Field(max_length=200, description="Its id, or its name with or without `#`.")

    @field_validator("channel")
    @classmethod
    def _without_hash(cls, value: str) -> str:
        name = value.strip().removeprefix("#").strip()
        if not name:
            raise ValueError("must not be blank")
        return name


def _timestamp(value: str) -> str:
    if not _TS.fullmatch(value.strip()):
        raise ValueError("is no timestamp of a message, such as 1503435956.000247")
    return value.strip()


class MessageParameters(_OfMessage, RichParameters):
    """One message."""

    message: Prose = Field(
        default="",
        max_length=TEXT_MAX_CHARS,
        description="Its text, in mrkdwn; with blocks, for notifications.",
    )
    thread_ts: str | None = Field(default=None, alias="threadTs", description="The message to answer in a thread.")
    blocks: Any = Field(
        default=None, description="Block Kit blocks, a list or a text holding JSON; instead of a rich message's."
    )

    _thread = field_validator("thread_ts")(lambda value: _timestamp(value) if value and value.strip() else None)

    @field_validator("blocks")
    @classmethod
    def _list_of_objects(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not value.strip():
                return None
            try:
                value = parse_json(value)
            except ValueError:
                raise ValueError("is no JSON") from None
        if not isinstance(value, list) or not all(isinstance(block, dict) for block in value):
            raise ValueError("must be a list of objects")
        if len(value) > BLOCKS_MAX:
            raise ValueError(f"holds {len(value)} blocks; Slack takes {BLOCKS_MAX}")
        return json_safe(value)


class UpdateParameters(_OfMessage):
    """A message that is there, and its new text."""

    ts: Line = Field(max_length=50, description="Its timestamp, as `sendMessage` returned it.")
    message: Text = Field(max_length=TEXT_MAX_CHARS, description="The new text, in Slack's mrkdwn.")

    _ts = field_validator("ts")(_timestamp)


class ReactionParameters(_OfMessage):
    """A message that is there, and an emoji."""

    ts: Line = Field(max_length=50, description="Its timestamp, as `sendMessage` returned it.")
    emoji: Line = Field(max_length=120, description="The emoji's name, with or without colons.")

    _ts = field_validator("ts")(_timestamp)

    @field_validator("emoji")
    @classmethod
    def _name(cls, value: str) -> str:
        name = value.strip()
        name = name[1:-1] if name.startswith(":") and name.endswith(":") and len(name) > 2 else name.strip(":")
        if not _EMOJI.fullmatch(name):
            raise ValueError("is no name of an emoji")
        return name


class ConnectionTestParameters(Limited):
    """Only the time."""


class SlackExecutor(Executor):
    """One connection for each action; holds nothing between jobs."""

    kind = "slack"
    connection = SlackConnection

    @action("sendMessage", idempotent=False)
    async def send_message(self, ctx: Context, params: MessageParameters) -> ExecutorResult:
        """Post a message; its `ts` in the output names it for `updateMessage` and `addReaction`."""
        text, blocks = params.message, params.blocks or None
        if params.is_rich and blocks is None:
            drawn, blocks = slack_message(params)
            text = text if text.strip() else drawn
        if not text.strip() and not blocks:
            raise InvalidParameter("message", "is required, unless messageFormat is rich and outputData is given")
        call = {
            "channel": params.channel,
            "text": text if text.strip() else "New message",
            "blocks": blocks,
            "thread_ts": params.thread_ts,
        }
        call = {name: value for name, value in call.items() if value is not None}
        return await _call(ctx, params, "chat.postMessage", call, _posted, _MAYBE_POSTED)

    @action("updateMessage", idempotent=True)
    async def update_message(self, ctx: Context, params: UpdateParameters) -> ExecutorResult:
        """Give a message another text."""
        call = {"channel": params.channel, "ts": params.ts, "text": params.message}
        return await _call(ctx, params, "chat.update", call, _updated, _MAYBE_CHANGED)

    @action("addReaction", idempotent=True)
    async def add_reaction(self, ctx: Context, params: ReactionParameters) -> ExecutorResult:
        """Put an emoji under a message; that it is there already is a success."""
        call = {"channel": params.channel, "timestamp": params.ts, "name": params.emoji}
        return await _call(ctx, params, "reactions.add", call, _reacted, _MAYBE_CHANGED)

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Ask Slack who the token is (auth.test), and look whether it may post."""
        connection = read_connection(ctx, SlackConnection)
        seconds = params.seconds(DEFAULT_TIMEOUT_S)
        post = Post(ctx, "Slack", seconds, ca_certificate=connection.ca_certificate, tests="login")
        return await post.carry_out(_tested(_Client(post, connection), post))


async def _call(
    ctx: Context, params: Limited, method: str, call: dict[str, Any], done: Any, changes: str
) -> ExecutorResult:
    connection = read_connection(ctx, SlackConnection)
    post = Post(
        ctx,
        "Slack",
        params.seconds(DEFAULT_TIMEOUT_S),
        ca_certificate=connection.ca_certificate,
        changes=changes,
    )

    async def work() -> ExecutorResult:
        reply = await _reply(_Client(post, connection), method, call)
        if reply.get("ok") is True or (method, reply.get("error")) == ("reactions.add", "already_reacted"):
            return success(done(reply, call))
        doubt = f"; {changes}" if reply.get("error") in _UNSURE else ""
        return failure(explained(method, reply) + doubt, output=reply, fault=_fault(reply))

    return await post.carry_out(work())


async def _reply(client: _Client, method: str, call: dict[str, Any]) -> dict[str, Any]:
    """Slack's answer, `ok` or not. Raises TargetError when there is none."""
    try:
        answer = await client.api_call(method, json=call)
    except SlackApiError as error:
        answer = error.response
    return dict(answer.data) if isinstance(answer.data, dict) else {}  # `_request` gives no other


async def _tested(client: _Client, post: Post) -> ExecutorResult:
    reply = await _reply(client, "auth.test", {})
    if reply.get("ok") is not True:
        sentence = explained("auth.test", reply)
        post.steps.failed("login", post.exchanged_s, sentence)
        return failure(f"login: {sentence}", output=reply | {"steps": post.steps.report()}, fault=_fault(reply))
    user, team = str(reply.get("user") or "?"), str(reply.get("team") or "?")
    post.steps.passed("login", post.exchanged_s, f"{user} in {team}")
    output = {"team": team, "user": user, "teamId": reply.get("team_id")}
    scopes = [scope.strip() for scope in client.scopes.split(",") if scope.strip()]
    if scopes:
        may = any(scope.startswith(_POSTING) for scope in scopes)
        (post.steps.passed if may else post.steps.failed)("permission", 0.0, ", ".join(scopes))
        output["scopes"] = scopes
        if not may:
            sentence = "permission: the token lacks the scope chat:write; add it and install the app again"
            return failure(sentence, output=output | {"steps": post.steps.report()}, fault=Fault.AGENT)
    message = f"Slack knows the token as {user} in {team}"
    return success(output | {"message": message, "steps": post.steps.report()})


def _posted(reply: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    channel = reply.get("channel") or call["channel"]
    return {"channel": channel, "ts": reply.get("ts"), "message": f"posted in {call['channel']}"}


def _updated(reply: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    channel = reply.get("channel") or call["channel"]
    return {"channel": channel, "ts": reply.get("ts") or call["ts"], "message": "the message was changed"}


def _reacted(reply: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    already = "" if reply.get("ok") is True else " was there already"
    return {"message": f"the reaction {call['name']}{already or ' was added'}"}


def _fault(reply: dict[str, Any]) -> Fault:
    """A token that Slack does not take is the agent owner's to replace."""
    of_token = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"}
    return Fault.AGENT if reply.get("error") in of_token else Fault.TARGET


class _Client(AsyncWebClient):
    """The SDK's client with this agent's way to the network: one call, no retries of its own."""

    def __init__(self, post: Post, connection: SlackConnection) -> None:
        super().__init__(token=connection.bot_token, base_url=connection.api_url, logger=_QUIET, retry_handlers=[])
        self.scopes = ""
        """What the last answer said of the token."""
        self._post = post

    async def _request(self, *, http_verb: str, api_url: str, req_args: dict[str, Any]) -> dict[str, Any]:
        """The SDK's hook for one exchange; see `AsyncBaseClient._request` for its shape."""
        del http_verb  # every method takes POST
        headers = {"Authorization": req_args["headers"]["Authorization"], "Accept": "application/json"}
        headers["Content-Type"] = "application/json; charset=utf-8"
        body = json.dumps(req_args["json"], ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        answer = await self._post.send(api_url, headers, body.encode("utf-8", "replace"))
        self.scopes = answer.headers.get("x-oauth-scopes", "")
        try:
            data = parse_json(answer.text)
        except ValueError:
            data = None
        if not isinstance(data, dict) or not isinstance(data.get("ok"), bool):
            if answer.status == 429:
                data = {"ok": False, "error": "ratelimited"}
            else:
                raise TargetError(f"Slack answered HTTP {answer.status} without a reply of its API")
        return {"data": data, "headers": answer.headers, "status_code": answer.status}
