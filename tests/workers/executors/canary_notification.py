"""The canary case of `notification`: it has no credential, and what it says is the control plane's to know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.canaries.case import Case, Job, Secret


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """The agent relays with its own key, and keeps nothing of the message in clear; the result names the channel."""
    message = {"type": "slack", "message": secret.sent("notification"), "channel": "#ops"}
    yield Case(
        jobs=(
            Job("notification.sendNotification", message, redacts=False),
            Job("notification.testConnection", redacts=False),
        )
    )
