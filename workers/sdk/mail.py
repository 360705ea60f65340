"""Writing a mail (RFC 5322): addresses, headers, bodies, attachments. Nothing in here talks to a server."""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, make_msgid
from typing import Any, Final, cast

import idna
from pydantic import Field, field_validator

from easyalert.errors import InvalidParameter
from workers.sdk.executor import Parameters
from workers.sdk.parameters import Line, Prose, Word

RECIPIENTS_MAX: Final = 500
ATTACHMENTS_MAX_BYTES: Final = 10 * 1024 * 1024
NO_SUBJECT: Final = "(no subject)"
_EMPTY_PLACES: Final = re.compile(r",(?:\s*,)+")
_NO_ADDRESS: Final = 'holds what is no address; write a name with a comma as "Doe, Jane" <a@b.c>'
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}", re.ASCII)


class Attachment(Parameters):
    """One file."""

    name: Line = Field(description="File name, without folders.")
    content: Prose = Field(
        default="", max_length=2 * ATTACHMENTS_MAX_BYTES, description="Its text; or `contentBase64`."
    )
    content_base64: Prose | None = Field(
        default=None,
        alias="contentBase64",
        max_length=2 * ATTACHMENTS_MAX_BYTES,
        description="Its bytes, as base64; line breaks do not matter.",
    )
    content_type: Word | None = Field(
        default=None, alias="contentType", description="Such as `text/csv`; without, it is told from the name."
    )

    @field_validator("name")
    @classmethod
    def _no_folders(cls, value: str) -> str:
        if "/" in value or "\\" in value or len(value) > 255:
            raise ValueError("must be a file name of at most 255 characters, without folders")
        return value

    @field_validator("content_type")
    @classmethod
    def _a_type(cls, value: str | None) -> str | None:
        if value is not None and not _TYPE.fullmatch(value.strip().lower()):
            raise ValueError("must be a type such as text/csv")
        return None if value is None else value.strip().lower()

    def data(self) -> bytes:
        """Raises InvalidParameter for what is no base64."""
        if self.content_base64 is None:
            return self.content.encode()
        try:
            return base64.b64decode("".join(self.content_base64.split()), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidParameter("attachments.contentBase64", "is no base64") from None

    def type(self) -> tuple[str, str]:
        """Main type and subtype. Never a message or multipart: those would be read as parts of this mail."""
        main, _, sub = (self.content_type or mimetypes.guess_type(self.name)[0] or "").partition("/")
        return (main, sub) if sub and main not in {"message", "multipart"} else ("application", "octet-stream")


@dataclass(frozen=True)
class Mail:
    """A message and its envelope."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]
    """Addresses alone, each once."""

    @property
    def international(self) -> bool:
        """Whether an address has characters beyond ASCII before its @, which only some servers take (RFC 6531)."""
        return not all(address.isascii() for address in (self.sender, *self.recipients))

    def encoded(self) -> bytes:
        """As it is sent."""
        return self.message.as_bytes(policy=SMTPUTF8 if self.international else SMTP)


def addresses(text: str, parameter: str) -> tuple[Address, ...]:
    """Comma-separated addresses, with or without names (`"Doe, Jane" <jane@example.com>`).

    Raises InvalidParameter naming `parameter`. Domains in other scripts become ASCII (IDNA).
    """
    listed = _EMPTY_PLACES.sub(",", text).strip(", \t")
    try:
        header = cast("Any", SMTP.header_factory("to", listed))
    except (IndexError, ValueError, AttributeError):  # the parser's own way of meeting some of what is no address
        raise InvalidParameter(parameter, _NO_ADDRESS) from None
    found = [_address(address, parameter) for address in header.addresses]
    if not found and listed:
        raise InvalidParameter(parameter, "must be addresses, comma-separated")
    # the parser forgives what no server would: half a name, two addresses without comma, a comment
    if any(not _harmless(defect) for defect in header.defects):
        raise InvalidParameter(parameter, _NO_ADDRESS)
    return tuple(found)


def _harmless(defect: object) -> bool:
    # raised for every character beyond ASCII, which is what encoding is for
    return "non-ascii" in str(defect).lower() or "8bit" in str(defect).lower()


def _address(address: Address, parameter: str) -> Address:
    if not address.username or not address.domain or address.domain.startswith("["):
        raise InvalidParameter(parameter, _NO_ADDRESS)
    try:
        domain = address.domain if address.domain.isascii() else idna.encode(address.domain.lower()).decode("ascii")
        return Address(address.display_name, address.username, domain)
    except (idna.IDNAError, ValueError, IndexError):
        raise InvalidParameter(parameter, _NO_ADDRESS) from None


def write(
    *,
    sender: Address,
    to: tuple[Address, ...],
    cc: tuple[Address, ...] = (),
    bcc: tuple[Address, ...] = (),
    reply_to: tuple[Address, ...] = (),
    subject: str,
    text: str | None,
    html: str | None,
    attachments: Iterable[Attachment] = (),
) -> Mail:
    """A mail with Date and Message-ID. Raises InvalidParameter: too many recipients, attachments too large."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    if cc:
        message["Cc"] = cc
    if reply_to:
        message["Reply-To"] = reply_to
    message["Subject"] = subject or NO_SUBJECT
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain=sender.domain)
    if text is not None or html is None:
        message.set_content(text or "")
        if html is not None:
            message.add_alternative(html, subtype="html")
    else:
        message.set_content(html, subtype="html")
    _attach(message, attachments)
    recipients = tuple(dict.fromkeys(address.addr_spec for address in (*to, *cc, *bcc)))
    if len(recipients) > RECIPIENTS_MAX:
        raise InvalidParameter("to", f"has, with cc and bcc, more than {RECIPIENTS_MAX} recipients")
    return Mail(message, sender.addr_spec, recipients)


def _attach(message: EmailMessage, attachments: Iterable[Attachment]) -> None:
    size = 0
    for attachment in attachments:
        data = attachment.data()
        size += len(data)
        if size > ATTACHMENTS_MAX_BYTES:
            raise InvalidParameter("attachments", f"are larger than {ATTACHMENTS_MAX_BYTES} bytes together")
        main, sub = attachment.type()
        message.add_attachment(data, maintype=main, subtype=sub, filename=attachment.name)
