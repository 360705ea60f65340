"""The canary case of `slack`: answers that say the token back, in every place that they have."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.canaries.case import Case, Job, Secret
from tests.support.faults import Silent, Status
from tests.support.slack_api import SlackApi
from tests.support.tls import throwaway_authority
from tests.support.web_service import Call

CHANNEL = "C024BE91L"


class _Echo(SlackApi):
    """Where a message goes says how it is answered."""

    def answer(self, call: Call) -> Status:
        token = call.headers["authorization"].removeprefix("Bearer ")
        given = json.loads(call.body or b"{}")
        said: dict[str, Any] = {"ok": True, "channel": CHANNEL, "ts": "1503435956.000247"}
        if given.get("channel") == "error":
            said = {"ok": False, "error": f"no_token_like_{token}", "needed": token}
        if given.get("channel") == "reply":
            said = {"ok": False, "error": "missing_scope", "needed": token, token: [{"deep": token}]}
        if given.get("channel") == "words":
            return Status(500, {"X-Token": token}, f"<html>{token}</html>".encode())
        if call.path.endswith("auth.test"):
            said |= {"team": f"team of {token}", "user": token}
        return Status(
            200,
            {"Content-Type": "application/json", "X-OAuth-Scopes": f"chat:write,{token}"},
            json.dumps(said).encode(),
        )


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Every action, every kind of answer."""
    with tempfile.TemporaryDirectory() as folder:
        authority = throwaway_authority(Path(folder), "localhost")
        with _Echo(authority.server_context()) as server, _Echo(authority.server_context()) as slow:
            slow.faults += [Silent()] * 3

            def entry(of: SlackApi, label: str) -> dict[str, object]:
                token = secret.plain(f"slack token, {label}")
                return {"botToken": token, "apiUrl": of.api_url, "caCertificate": authority.root.read_text()}

            def job(name: str, label: str, ends: str = "success", *, redacts: bool = True, **params: object) -> Job:
                return Job(f"slack.{name}", {"timeout": 60, **params}, entry(server, label), ends=ends, redacts=redacts)

            yield Case(
                jobs=(
                    job("sendMessage", "taken", redacts=False, channel="ops", message="m"),
                    job("sendMessage", "error", "error", channel="error", message="m"),
                    job("sendMessage", "reply", "error", channel="reply", message="m"),
                    job("sendMessage", "words", "error", redacts=False, channel="words", message="m"),
                    job("updateMessage", "changed", "error", channel="reply", message="m", ts="1.1"),
                    job("addReaction", "marked", "error", channel="error", emoji="eyes", ts="1.1"),
                    job("testConnection", "tested"),
                ),
                hanging=Job("slack.sendMessage", {"channel": "ops", "message": "m"}, entry(slow, "hanging")),
                holds=lambda: slow.held,
            )
