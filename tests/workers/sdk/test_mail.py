from __future__ import annotations

import contextlib
from email.headerregistry import Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import InvalidParameter
from workers.sdk.executor import parse
from workers.sdk.mail import RECIPIENTS_MAX, Attachment, addresses, write

SENDER = Address("", "alerts", "example.com")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@example.com", ["a@example.com"]),
        ("a@example.com,, b@example.com ,", ["a@example.com", "b@example.com"]),
        ('"Doe, Jane" <jane@example.com>, Ops <ops@example.com>', ["jane@example.com", "ops@example.com"]),
        ("<a@bücher.example>", ["a@xn--bcher-kva.example"]),
        ("", []),
    ],
)
def test_addresses(text, found):
    assert [address.addr_spec for address in addresses(text, "to")] == found


@given(st.text(max_size=60))
def test_any_text_is_addresses_or_refused_by_name(text):
    with contextlib.suppress(InvalidParameter):
        assert all(address.username and address.domain for address in addresses(text, "cc"))


def test_each_recipient_is_named_once_and_there_is_an_end():
    to = addresses("a@example.com, a@example.com", "to")
    mail = write(sender=SENDER, to=to, cc=to, subject="s", text="t", html=None)
    assert mail.recipients == ("a@example.com",)
    many = tuple(Address("", f"a{number}", "example.com") for number in range(RECIPIENTS_MAX + 1))
    with pytest.raises(InvalidParameter, match="more than 500 recipients"):
        write(sender=SENDER, to=many, subject="s", text="t", html=None)


def test_a_mail_of_long_lines_and_odd_characters_can_be_sent():
    mail = write(sender=SENDER, to=addresses("a@example.com", "to"), subject="ü" * 300, text="x" * 5_000, html=None)
    assert all(len(line) <= 998 for line in mail.encoded().split(b"\r\n"))
    assert mail.encoded().isascii()


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"name": "a.csv"}, ("text", "csv")),
        ({"name": "a.unknown-kind"}, ("application", "octet-stream")),
        ({"name": "a.csv", "contentType": "Image/PNG"}, ("image", "png")),
        ({"name": "a", "contentType": "multipart/mixed"}, ("application", "octet-stream")),
    ],
)
def test_the_type_of_an_attachment(given, kind):
    assert parse(Attachment, given).type() == kind
