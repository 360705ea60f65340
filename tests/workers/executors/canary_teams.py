"""The canary case of `teams`: answers that say the webhook's address back, whole and in parts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.canaries.case import Case, Job, Secret
from tests.support.faults import Silent, Status
from tests.support.teams_hook import PLAIN, TeamsHook
from tests.support.tls import throwaway_authority
from tests.support.web_service import Call


class _Echo(TeamsHook):
    """The message says what part of its address is said back."""

    def answer(self, call: Call) -> Status:
        signature = parse_qs(urlsplit(call.path).query)["sig"][0]
        for word, said in (("whole", self.origin + call.path), ("path", call.path), ("part", signature)):
            if word in call.body.decode():
                return Status(400, PLAIN, f"error: no webhook at {said} today".encode())
        return Status(202, {"X-Webhook": call.path}, b"")


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Both sources of the address, every kind of answer."""
    with tempfile.TemporaryDirectory() as folder:
        authority = throwaway_authority(Path(folder), "localhost")
        root, tls = authority.root.read_text(), authority.server_context()
        with _Echo(tls) as server, _Echo(tls) as slow:
            slow.faults += [Silent()] * 3

            def entry(of: TeamsHook, label: str) -> dict[str, object]:
                address = f"{of.origin}/workflows/1234/triggers/manual/paths/invoke?sv=1.0&sig="
                return {"webhookUrl": address + secret.plain(f"teams signature, {label}"), "caCertificate": root}

            def job(word: str, ends: str = "error", *, redacts: bool = True) -> Job:
                return Job(
                    "teams.sendMessage",
                    {"message": word, "timeout": 60},
                    entry(server, word),
                    ends=ends,
                    redacts=redacts,
                )

            card = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "text": "path"}]}
            yield Case(
                jobs=(
                    job("taken", "success", redacts=False),
                    job("whole"),
                    job("path"),
                    job("part"),
                    Job("teams.sendAdaptiveCard", {"cardJson": card}, entry(server, "card"), ends="error"),
                    Job("teams.testConnection", {}, entry(server, "test"), redacts=False),
                ),
                hanging=Job("teams.sendMessage", {"message": "m"}, entry(slow, "hanging")),
                holds=lambda: slow.held,
            )
