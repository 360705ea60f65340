"""Slack's Web API as its reference describes it: methods, error codes, scopes, limits of blocks, messages that stay.

::

    with SlackApi(tls) as slack:
        slack.tokens["xoxb-1"] = {"chat:write", "reactions:write"}
        slack.faults.append(slack.throttled(2))          # the next request is answered 429, Retry-After 2
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.faults import Status
from tests.support.web_service import Call, WebService

SCOPES = {"chat.postMessage": "chat:write", "chat.update": "chat:write", "reactions.add": "reactions:write"}
BLOCK_TYPES = {"actions", "context", "divider", "file", "header", "image", "input", "markdown", "rich_text", "section",
               "video"}  # fmt: skip


class SlackApi(WebService):
    """One workspace. `channels`: id → name; `messages`: (channel, ts) → what was posted."""

    def __init__(self, tls: Any) -> None:
        super().__init__(tls)
        self.tokens: dict[str, set[str]] = {}
        self.channels = {"C024BE91L": "ops", "C0ARCHIVE": "old", "C0PRIVATE": "secret"}
        self.archived, self.strange = {"C0ARCHIVE"}, {"C0PRIVATE"}
        self.messages: dict[tuple[str, str], dict[str, Any]] = {}
        self.own: set[str] = set()

    @property
    def api_url(self) -> str:
        return f"{self.origin}/api/"

    @staticmethod
    def throttled(seconds: object = None) -> Status:
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        body = b'{"ok":false,"error":"ratelimited"}'
        return Status(429, {"Content-Type": "application/json; charset=utf-8", **headers}, body)

    def answer(self, call: Call) -> Status:
        method = call.path.removeprefix("/api/")
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        reply = self._reply(method, token, call)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if token in self.tokens:
            headers["X-OAuth-Scopes"] = ",".join(sorted(self.tokens[token]))
            if method in SCOPES:
                headers["X-Accepted-OAuth-Scopes"] = SCOPES[method]
        return Status(200, headers, json.dumps(reply).encode())

    def _reply(self, method: str, token: str, call: Call) -> dict[str, Any]:  # noqa: PLR0911 - one for each error
        if not token:
            return _no("not_authed")
        if token not in self.tokens:
            return _no("invalid_auth")
        needed = SCOPES.get(method)
        if needed and needed not in self.tokens[token]:
            return _no("missing_scope", needed=needed, provided=",".join(sorted(self.tokens[token])))
        if not call.headers.get("content-type", "").startswith("application/json"):
            return _no("invalid_post_type")
        try:
            given = json.loads(call.body)
        except ValueError:
            return _no("invalid_json")
        if not isinstance(given, dict):
            return _no("json_not_object")
        handler = getattr(self, "do_" + method.replace(".", "_"), None)
        return handler(given) if handler else _no("unknown_method", req_method=method)

    def do_auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "ok": True, "url": "https://subarachnoid.slack.com/", "team": "Subarachnoid Workspace", "user": "bot",
            "team_id": "T0G9PQBBK", "user_id": "W23456789", "bot_id": "BZYBOTHED", "is_enterprise_install": False,
        }  # fmt: skip

    def do_chat_postMessage(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        channel = self._channel(given.get("channel"))
        if isinstance(channel, dict):
            return channel
        if problem := _of_content(given):
            return problem
        thread = given.get("thread_ts")
        if thread is not None and (channel, thread) not in self.messages:
            return _no("thread_not_found")
        ts = f"{1503435956 + len(self.messages)}.000247"
        message = {"type": "message", "bot_id": "BZYBOTHED", "ts": ts, "reactions": [], **given}
        self.messages[channel, ts] = message
        self.own.add(ts)
        return {"ok": True, "channel": channel, "ts": ts, "message": message}

    def do_chat_update(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(given.get("channel"))
        if isinstance(channel, dict):
            return channel
        message = self.messages.get((channel, given.get("ts")))
        if message is None:
            return _no("message_not_found")
        if message["ts"] not in self.own:
            return _no("cant_update_message")
        if problem := _of_content(given):
            return problem
        message["text"] = given["text"]
        return {"ok": True, "channel": channel, "ts": message["ts"], "text": given["text"]}

    def do_reactions_add(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(given.get("channel"))
        if isinstance(channel, dict):
            return channel
        message = self.messages.get((channel, given.get("timestamp")))
        if message is None:
            return _no("message_not_found")
        if given.get("name") == "nosuchemoji":
            return _no("invalid_name")
        if given["name"] in message["reactions"]:
            return _no("already_reacted")
        message["reactions"].append(given["name"])
        return {"ok": True}

    def _channel(self, named: Any) -> str | dict[str, Any]:
        by_name = {name: key for key, name in self.channels.items()}
        channel = named if named in self.channels else by_name.get(named)
        if channel is None:
            return _no("channel_not_found")
        if channel in self.archived:
            return _no("is_archived")
        return _no("not_in_channel") if channel in self.strange else channel


def _no(error: str, **more: Any) -> dict[str, Any]:
    return {"ok": False, "error": error, **more}


def _of_content(given: dict[str, Any]) -> dict[str, Any] | None:
    text, blocks = given.get("text", ""), given.get("blocks")
    if not text and not blocks:
        return _no("no_text")
    if _units(text) > 40_000:
        return _no("msg_too_long")
    problems = block_problems(blocks) if blocks is not None else []
    if problems:
        return _no("invalid_blocks", response_metadata={"messages": [f"[ERROR] {problem}" for problem in problems]})
    if blocks and _units(json.dumps(blocks, ensure_ascii=False)) > 13_000:
        return _no("msg_blocks_too_long")
    return None


def block_problems(blocks: Any) -> list[str]:
    """What Slack's reference of blocks does not allow."""
    if not isinstance(blocks, list):
        return ["must be an array"]
    found = [f"no more than 50 items allowed [{len(blocks)}]"] if len(blocks) > 50 else []
    for number, block in enumerate(blocks):
        at = f"/blocks/{number}"
        kind = block.get("type")
        if kind not in BLOCK_TYPES:
            found.append(f"unsupported type: {kind} [{at}]")
        if kind == "header":
            found += _text_problems(block.get("text"), at, 150, {"plain_text"})
        if kind == "section":
            if not block.get("text") and not block.get("fields"):
                found.append(f"missing required field: text [{at}]")
            found += _text_problems(block["text"], at, 3_000) if block.get("text") else []
        if kind == "context":
            elements = block.get("elements") or []
            found += [] if 1 <= len(elements) <= 10 else [f"1 to 10 elements [{at}]"]
            found += [problem for element in elements for problem in _text_problems(element, at, 3_000)]
    return found


def _text_problems(text: Any, at: str, limit: int, kinds: Any = frozenset({"plain_text", "mrkdwn"})) -> list[str]:
    if not isinstance(text, dict) or text.get("type") not in kinds:
        return [f"no text object [{at}/text]"]
    allowed = {"type", "text", "emoji"} if text["type"] == "plain_text" else {"type", "text", "verbatim"}
    found = [f"additional property: {name} [{at}/text]" for name in set(text) - allowed]
    length = _units(text.get("text") or "")
    if length < 1:
        found.append(f"must be more than 0 characters [{at}/text/text]")
    if length > limit:
        found.append(f"must be less than {limit + 1} characters [{at}/text/text]")
    return found


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
