"""The canary case of `email`: the server says the password back in every place where it has a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.canaries.case import Case, Job, Secret
from tests.support.smtp_server import SmtpServer


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """A real SMTP server that refuses with the password: a recipient, the mail, the login."""
    password = secret.plain("email password")
    mail = {"subject": "Disk full", "body": "It is.", "timeout": 60}
    with SmtpServer() as server, SmtpServer() as slow:
        server.handler.accounts = slow.handler.accounts = {"ada": password}
        server.handler.refuses = {"echo@example.com": f"550 your password is {password}"}
        slow.handler.hangs = "data"
        server.handler.data_answers = {"spam": f"554 {password} looks like spam"}

        def entry(of: SmtpServer, **more: object) -> dict[str, object]:
            credential = {"host": "127.0.0.1", "port": of.port, "security": "none", "username": "ada"}
            return {**credential, "password": password, "fromAddress": "alerts@example.com", **more}

        def job(to: str, *, body: str = "It is.", **more: object) -> Job:
            return Job("email.sendEmail", {**mail, "to": to, "body": body}, entry(server), **more)

        yield Case(
            jobs=(
                job("jane@example.com", redacts=False),
                job("echo@example.com", ends="error"),
                job("jane@example.com, echo@example.com"),
                job("jane@example.com", body="spam", ends="error"),
                Job("email.testConnection", {}, entry(server), redacts=False),
                Job(
                    "email.testConnection", {}, entry(server, password=secret("wrong email password")),
                    ends="error", redacts=False,
                ),
            ),
            hanging=Job("email.sendEmail", {**mail, "to": "jane@example.com"}, entry(slow)),
            holds=lambda: slow.handler.hung,
        )  # fmt: skip
