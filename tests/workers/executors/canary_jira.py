"""The canary case of `jira`: the site says the token back in every place where it has a word."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.canaries.case import Case, Job, Secret
from tests.support.faults import Cut, Silent, Status
from tests.support.jira_api import JiraSite
from tests.support.tls import throwaway_authority

JSON = {"Content-Type": "application/json"}


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """A real HTTPS site that has the token in errors, names of fields, ids, names, headers, and half an answer."""
    token = secret("jira token")
    with tempfile.TemporaryDirectory() as folder:
        authority = throwaway_authority(Path(folder), "localhost")
        roots = authority.root.read_text()
        with JiraSite(authority.server_context()) as site:
            site.accounts = {"ada@example.com": token}
            site.display_name = f"Ada {token}"
            login = base64.b64encode(f"ada@example.com:{token}".encode()).decode()
            errors = {"errorMessages": [f"no {token}"], "errors": {token: token, "login": login}}
            site.fates = {
                "say-errors": Status(400, JSON, json.dumps(errors).encode()),
                "say-text": Status(500, {"X-Token": token.encode("ascii", "ignore").decode()}, (("x" * 495) + token).encode()),
                "say-id": Status(201, JSON, json.dumps({"id": token, "key": "OPS-1"}).encode()),
                "cut": Cut("body"),
                "hang": Silent(),
            }  # fmt: skip
            entry = {"baseUrl": site.url, "email": "ada@example.com", "apiToken": token, "caCertificate": roots}

            def create(summary: str, **more: object) -> Job:
                return Job("jira.createIssue", {"projectKey": "OPS", "summary": summary}, entry, **more)

            yield Case(
                jobs=(
                    create("Disk full", redacts=False),
                    create("say-errors", ends="error"),
                    create("say-text", ends="error"),
                    create("say-id"),
                    create("cut", ends="error", redacts=False),
                    Job("jira.testConnection", {}, entry),
                    Job(
                        "jira.testConnection", {}, {**entry, "apiToken": secret("wrong jira token")},
                        ends="error", redacts=False,
                    ),
                    Job(
                        "jira.createIssue", {"projectKey": "OPS", "summary": "x", "baseUrl": "https://example.com"},
                        entry, ends="error", redacts=False,
                    ),
                ),
                hanging=create("hang"),
                holds=lambda: len(site.held),
            )  # fmt: skip
