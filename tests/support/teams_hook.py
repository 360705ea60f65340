"""Webhooks of Microsoft Teams: an Office 365 connector's and a workflow's, as their pages and threads describe them.

A connector answers 200 with `1`; whatever Teams says later it puts, with its status, into the text of a 200. A workflow
answers 202 with nothing, and errors as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.faults import Status
from tests.support.web_service import Call, WebService

LIMIT = 28 * 1024
PLAIN = {"Content-Type": "text/plain; charset=utf-8"}
ADAPTIVE = "application/vnd.microsoft.card.adaptive"


class TeamsHook(WebService):
    """One channel with both kinds of webhooks, whose secrets are `group` and `signature`."""

    def __init__(
        self, tls: Any, *, group: str = "0123456789abcdef0123456789abcdef", signature: str = "s1gn-ature_0"
    ) -> None:
        super().__init__(tls)
        self.group, self.signature = group, signature
        self.posted: list[dict[str, Any]] = []

    @property
    def connector(self) -> str:
        who = "b1a3c6de-1111-4222-8333-444455556666"
        return f"{self.origin}/webhookb2/{who}@{who}/IncomingWebhook/{self.group}/{who}"

    @property
    def workflow(self) -> str:
        query = f"api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={self.signature}"
        return f"{self.origin}/workflows/{self.group}/triggers/manual/paths/invoke?{query}"

    @staticmethod
    def wrapped(status: int) -> Status:
        """What a connector answers when Teams has refused."""
        text = (
            f"Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {status} "
            "with ContextId tcid=622824298674363899,server=DB5PEPF00003FC8,cv=AszFFaeXdEGdFrJhai0eUw.1.0.."
        )
        return Status(200, PLAIN, text.encode())

    def answer(self, call: Call) -> Status:
        if call.path == self.connector.removeprefix(self.origin):
            return self._connector(call)
        if call.path == self.workflow.removeprefix(self.origin):
            return self._workflow(call)
        if call.path.startswith("/workflows/"):
            return _refusal(
                401, "DirectApiAuthorizationRequired", "The request must be authenticated only by a SAS key."
            )
        return Status(404, PLAIN, b"No webhook found")

    def _connector(self, call: Call) -> Status:
        if len(call.body) > LIMIT:
            return self.wrapped(413)
        given = _object(call)
        if given is None:
            return Status(400, PLAIN, b"Bad payload received by generic incoming webhook.")
        if given.get("type") == "message":
            if not _is_card(given):
                return self.wrapped(400)
        elif not given.get("text") and not given.get("summary"):
            return Status(400, PLAIN, b"Summary or Text is required.")
        self.posted.append(given)
        return Status(200, PLAIN, b"1")

    def _workflow(self, call: Call) -> Status:
        given = _object(call)
        if given is None:
            return _refusal(400, "InvalidRequestContent", "The request content is not valid JSON.")
        if len(call.body) > LIMIT:
            return _refusal(413, "RequestEntityTooLarge", "The request is too large.")
        if given.get("type") == "message" and _is_card(given):
            self.posted.append(given)
        return Status(202, {}, b"")  # what the flow makes of it is seen in its own history


def _refusal(status: int, code: str, message: str) -> Status:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return Status(status, {"Content-Type": "application/json"}, body)


def _object(call: Call) -> dict[str, Any] | None:
    try:
        given = json.loads(call.body)
    except ValueError:
        return None
    return given if isinstance(given, dict) else None


def _is_card(given: dict[str, Any]) -> bool:
    attachments = given.get("attachments") or []
    return bool(attachments) and all(
        item.get("contentType") == ADAPTIVE
        and item["content"].get("type") == "AdaptiveCard"
        and isinstance(item["content"].get("version"), str)
        for item in attachments
    )
