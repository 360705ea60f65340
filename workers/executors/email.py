"""Mail over SMTP: `email.sendEmail`, `email.testConnection` (contract 3.8).

**Encryption.** `security`: `ssl` (from the first byte), `starttls`, anything else none. Without it `useTls` decides:
false none; else `ssl` on port 465 and `starttls` on every other. Certificates are verified against the machine's
trusted roots, or against `caCertificate`. A server without STARTTLS where it is asked for is an error, never a mail in
clear.

**Login.** With the entry's `username` and `password`. Without a `username` (or an entry) the mail is handed over
without login, as relays inside a network take it; the connection has to name a `host` and a `fromAddress` then.

**Recipients.** `to`, `cc`, `bcc` are comma-separated; a name that holds a comma is quoted. When the server takes some
recipients and refuses others, the action is a success whose `error` names those refused, and `refused` lists them.

**Rich.** `messageFormat: "rich"` with `outputData` (contract 3.13) draws both bodies, in the place of `body` and
`htmlBody`.

**In doubt.** A connection that ends after the mail was handed over and before the server's word is an error that says
so: the mail may have been sent. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import platform
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiosmtplib
from pydantic import Field, field_validator

from easyalert.errors import CredentialError, EasyAlertError, Fault, InvalidParameter, TargetError
from workers.sdk import (
    Context,
    Executor,
    ExecutorResult,
    action,
    failure,
    read_connection,
    success,
)
from workers.sdk.dialing import dial
from workers.sdk.mail import Attachment, Mail, addresses, write
from workers.sdk.mail_connection import EmailConnection
from workers.sdk.parameters import Limited, Prose, Word, one_line
from workers.sdk.rich import RichParameters
from workers.sdk.rich_email import email_bodies
from workers.sdk.steps import Steps
from workers.sdk.stopping import at_the_jobs_limit, cancelled, time_for, until_cancelled
from workers.sdk.tls import tls_context, tls_failure

DEFAULT_TIMEOUT_S: Final = 30.0
TEST_SUBJECT: Final = "EasyAlert test mail"
_TEXT_MAX_CHARS: Final = 5_000_000
_REPLY_SHOWN: Final = 200
_GOODBYE_S: Final = 0.05
"""What a connection takes to end whose certificate was refused; the library holds it."""
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9.-]{1,253}", re.ASCII)


class MailParameters(Limited, RichParameters):
    """One mail."""

    to: Prose = Field(max_length=50_000, description="Recipients, comma-separated.")
    cc: Prose = Field(default="", max_length=50_000, description="Further ones, seen by all.")
    bcc: Prose = Field(default="", max_length=50_000, description="Further ones, seen by nobody.")
    reply_to: Prose = Field(default="", alias="replyTo", max_length=1_000, description="Where answers go.")
    subject: Prose = Field(default="", max_length=2_000, description="One line.")
    body: Prose | None = Field(default=None, max_length=_TEXT_MAX_CHARS, description="Plain text.")
    html_body: Prose | None = Field(
        default=None, alias="htmlBody", max_length=_TEXT_MAX_CHARS, description="HTML; with `body`, both are sent."
    )
    attachments: list[Attachment] = Field(
        default_factory=list, max_length=50, description="Files, 10 MiB together: name, content or contentBase64."
    )

    @field_validator("to", "cc", "bcc", "reply_to", "subject")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return one_line(value)


class ConnectionTestParameters(Limited):
    """What to try."""

    target_email: Word = Field(
        default="", alias="targetEmail", max_length=1_000, description="Send a mail there; without, only log in."
    )
    connection_config: dict[str, Any] = Field(
        default_factory=dict, alias="connectionConfig", description="The connection's configuration."
    )


@dataclass
class _Sent:
    """How far a mail has come."""

    accepted: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    handed_over: bool = False
    """The server may have taken it."""


class EmailExecutor(Executor):
    """One connection for each mail."""

    kind = "email"
    connection = EmailConnection

    @action("sendEmail", idempotent=False)
    async def send(self, ctx: Context, params: MailParameters) -> ExecutorResult:
        """Send one mail, drawn from `outputData` if it is to be rich."""
        html, text = email_bodies(params) if params.is_rich else (params.html_body, params.body)
        if not (html or "").strip() and not (text or "").strip():
            reason = "is required (or htmlBody), unless messageFormat is rich and outputData is given"
            raise InvalidParameter("body", reason)
        connection = read_connection(ctx, EmailConnection)
        mail = write(
            sender=connection.sender(),
            to=addresses(params.to, "to"),
            cc=addresses(params.cc, "cc"),
            bcc=addresses(params.bcc, "bcc"),
            reply_to=addresses(params.reply_to, "replyTo"),
            subject=params.subject.strip(),
            text=text,
            html=html,
            attachments=params.attachments,
        )
        if not mail.recipients:
            raise InvalidParameter("to", "names no recipient")
        return await _until_sent(ctx, connection, mail, params.seconds(DEFAULT_TIMEOUT_S), Steps())

    @action("testConnection", idempotent=lambda params: not _target(params))
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Connect, encrypt, log in; with `targetEmail`, send a mail there."""
        connection, steps = read_connection(ctx, EmailConnection), Steps()
        seconds, target = params.seconds(DEFAULT_TIMEOUT_S), addresses(_target(params), "targetEmail")
        if target:
            text = f"This mail was sent by the EasyAlert agent on {platform.node()} to test a connection."
            mail = write(sender=connection.sender(), to=target, subject=TEST_SUBJECT, text=text, html=None)
            result = await _until_sent(ctx, connection, mail, seconds, steps)
            return replace(result, output={**(result.output or {}), "steps": steps.report()})
        output = {"host": connection.server, "port": connection.on_port, "username": connection.username or ""}

        async def look() -> None:
            async with _within(ctx, connection, seconds), _server(ctx, connection, seconds, steps):
                pass

        try:
            if await until_cancelled(ctx, _true(look())) is None:
                return cancelled("cancelled while the server was asked", output=output | {"steps": steps.report()})
        except TargetError as error:
            return failure(str(error), output=output | {"steps": steps.report()})
        who = f"as {connection.username}" if connection.username else "without login"
        message = f"{connection.server}:{connection.on_port} takes mail {who} ({_words(connection)})"
        return success(output | {"message": message, "steps": steps.report()})


async def _true(work: Any) -> bool:
    await work
    return True


def _target(params: ConnectionTestParameters) -> str:
    nested = params.connection_config.get("targetEmail")
    return (params.target_email or (nested if isinstance(nested, str) else "")).strip()


def _words(connection: EmailConnection) -> str:
    verified = "" if connection.verify_tls else ", certificate not verified"
    return {"ssl": f"TLS{verified}", "starttls": f"STARTTLS{verified}", "none": "not encrypted"}[connection.encryption]


async def _until_sent(
    ctx: Context, connection: EmailConnection, mail: Mail, seconds: float, steps: Steps
) -> ExecutorResult:
    sent = _Sent()

    async def send() -> None:
        async with _within(ctx, connection, seconds), _server(ctx, connection, seconds, steps) as server:
            await _hand_over(server, mail, sent)

    try:
        if await until_cancelled(ctx, _true(send())) is None:
            return cancelled(f"cancelled while the mail was being sent; {_fate(sent)}", output=_output(mail, sent))
    except TargetError as error:
        doubt = f"; {_fate(sent)}" if sent.handed_over else ""
        return failure(f"{error}{doubt}", output=_output(mail, sent) if sent.accepted or sent.refused else None)
    except TimeoutError:
        return failure(
            f"timed out after {ctx.timeout_s} seconds; {_fate(sent)}",
            output=_output(mail, sent), exit_code=-1, fault=Fault.TARGET, outcome="timed_out",
        )  # fmt: skip
    output = _output(mail, sent) | {
        "message": f"handed over to {connection.server} for {len(sent.accepted)} recipients"
    }
    if not sent.refused:
        return success(output)
    named = "; ".join(f"{address} ({why})" for address, why in list(sent.refused.items())[:3])
    return success(output, error=f"{len(sent.refused)} of {len(mail.recipients)} recipients were refused: {named}")


def _fate(sent: _Sent) -> str:
    return "the mail may have been sent" if sent.handed_over else "the mail was not sent"


def _output(mail: Mail, sent: _Sent) -> dict[str, Any]:
    return {
        "to": str(mail.message["To"]),
        "subject": str(mail.message["Subject"]),
        "recipientCount": len(sent.accepted),
        "messageId": str(mail.message["Message-ID"]),
        "refused": [{"address": address, "reason": why} for address, why in sent.refused.items()],
    }


@asynccontextmanager
async def _within(ctx: Context, connection: EmailConnection, seconds: float) -> AsyncIterator[None]:
    """The action's limit. Raises TargetError at it, TimeoutError at the job's."""
    try:
        async with asyncio.timeout(time_for(ctx, seconds)):
            yield
    except TimeoutError:
        if at_the_jobs_limit(ctx):
            raise
        where = f"{connection.server}:{connection.on_port}"
        raise TargetError(f"{where} did not finish within {seconds:g} s") from None


@asynccontextmanager
async def _server(
    ctx: Context, connection: EmailConnection, seconds: float, steps: Steps
) -> AsyncIterator[aiosmtplib.SMTP]:
    """Connected, encrypted, logged in. Raises TargetError for whatever the server or the network does."""
    where = f"{connection.server}:{connection.on_port}"
    context = tls_context(connection.ca_certificate, verify=connection.verify_tls, connection_id=ctx.connection_id)
    socket = await dial(ctx, connection.server, connection.on_port, timeout=seconds, steps=steps)
    server = aiosmtplib.SMTP(
        hostname=connection.server,
        sock=socket,
        timeout=seconds,
        use_tls=connection.encryption == "ssl",
        start_tls=False,
        tls_context=context,
        local_hostname=_own_name(),
    )
    try:
        began = time.monotonic()
        await server.connect()
        if connection.encryption == "ssl":
            steps.passed("tls", time.monotonic() - began, _words(connection))
        elif connection.encryption == "starttls":
            with steps.step("tls", _words(connection)):
                await _start_tls(server, where)
        if connection.username:
            with steps.step("login", connection.username):
                await _log_in(server, connection, where)
        yield server
        await server.quit()
    except EasyAlertError:
        raise
    except (aiosmtplib.SMTPException, OSError) as error:
        if isinstance(error, TimeoutError) and not isinstance(error, aiosmtplib.SMTPException):
            raise
        raise _said(error, where) from None
    finally:
        await _leave(server)
        socket.close()


async def _leave(server: aiosmtplib.SMTP) -> None:
    """Close what is open, in the turns that the loop still has: after a job there may be none."""
    transport = server.transport
    server.close()
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()  # TLS would wait for the server's goodbye
    await asyncio.sleep(0 if transport is not None else _GOODBYE_S)


async def _start_tls(server: aiosmtplib.SMTP, where: str) -> None:
    await server.ehlo()
    if not server.supports_extension("starttls"):
        raise TargetError(f"{where} offers no STARTTLS, so nothing was sent; if that is right, set 'security' to none")
    try:
        await server.starttls()
    except ssl.SSLError as error:
        raise tls_failure(error, where) from None


async def _log_in(server: aiosmtplib.SMTP, connection: EmailConnection, where: str) -> None:
    try:
        await server.login(connection.username or "", connection.password or "")
    except aiosmtplib.SMTPAuthenticationError as error:
        raise TargetError(
            f"{where} refused the login of {connection.username} ({error.code}); "
            "check the connection's username and password"
        ) from None
    except UnicodeError:
        raise CredentialError("the username or password holds characters this server's login cannot carry") from None


async def _hand_over(server: aiosmtplib.SMTP, mail: Mail, sent: _Sent) -> None:
    data = mail.encoded()
    await server.ehlo()
    options = []
    if server.supports_extension("size"):
        limit = server.esmtp_extensions.get("size", "").strip()
        if limit.isdecimal() and 0 < int(limit) < len(data):
            raise TargetError(f"the mail has {len(data)} bytes, and the server takes {limit}")
        options.append(f"SIZE={len(data)}")
    if mail.international:
        if not server.supports_extension("smtputf8"):
            raise TargetError(
                "an address has characters beyond ASCII before its @, and the server takes none (SMTPUTF8)"
            )
        options.append("SMTPUTF8")
    encoding = "utf-8" if mail.international else "ascii"
    await server.mail(mail.sender, options=options, encoding=encoding)
    for recipient in mail.recipients:
        try:
            await server.rcpt(recipient, encoding=encoding)
            sent.accepted.append(recipient)
        except aiosmtplib.SMTPRecipientRefused as error:
            sent.refused[recipient] = f"{error.code} {error.message}"[:_REPLY_SHOWN]
    if not sent.accepted:
        named = "; ".join(f"{address} ({why})" for address, why in list(sent.refused.items())[:3])
        raise TargetError(f"the server refused every recipient: {named}")
    sent.handed_over = True
    try:
        await server.data(data)
    except aiosmtplib.SMTPDataError:
        sent.handed_over = False  # its word is a clear no
        raise


def _said(error: Exception, where: str) -> TargetError:
    cause = error.__cause__
    if isinstance(error, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return tls_failure(error if isinstance(error, ssl.SSLError) else cause, where)  # type: ignore[arg-type]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        reply = " ".join(f"{error.code} {error.message}".split())[:_REPLY_SHOWN]
        return TargetError(f"{where} refused the mail: {reply}")
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return TargetError(f"{where} did not answer in time")
    if isinstance(error, aiosmtplib.SMTPServerDisconnected | ConnectionError):
        return TargetError(f"{where} ended the connection")
    reason = str(error) if isinstance(error, aiosmtplib.SMTPException) else type(error).__name__
    return TargetError(f"no mail through {where}: {reason[:_REPLY_SHOWN]}")


def _own_name() -> str:
    """What this host calls itself in EHLO: looked up nowhere."""
    name = platform.node()
    return name if _HOST_NAME.fullmatch(name) else "localhost"
