from __future__ import annotations

import pytest
from pydantic import ValidationError

from easyalert.errors import CredentialError
from tests.workers.sdk.test_context import context
from workers.sdk.connection import read_connection
from workers.sdk.mail_connection import EmailConnection


@pytest.mark.parametrize(
    ("more", "encryption"),
    [
        ({"security": "SSL"}, "ssl"),
        ({"security": "starttls"}, "starttls"),
        ({"security": "plain"}, "none"),
        ({"useTls": False}, "none"),
        ({"useTLS": "false", "port": 465}, "none"),
        ({"port": 465}, "ssl"),
        ({"useTls": True, "port": 25}, "starttls"),
        ({}, "starttls"),
    ],
)
def test_the_older_settings_of_encryption_keep_their_meaning(more, encryption):
    connection = EmailConnection.model_validate({"host": "h", **more})
    assert connection.encryption == encryption


def test_a_server_is_needed_under_either_name():
    with pytest.raises(ValidationError, match="needs a 'host'"):
        EmailConnection.model_validate({"username": "ada"})
    named = EmailConnection.model_validate({"smtpHost": "a", "host": "b", "smtpPort": "2525", "port": 25})
    assert (named.server, named.on_port) == ("a", 2525)
    assert EmailConnection.model_validate({"host": "b"}).on_port == 587


@pytest.mark.parametrize(
    ("fields", "sender"),
    [
        ({"username": "ada@example.com"}, "ada@example.com"),
        ({"username": "ada", "fromAddress": "alerts@example.com"}, "alerts@example.com"),
        ({"fromAddress": "Old <a@example.com>", "fromName": "New"}, "New <a@example.com>"),
        ({"fromAddress": "Old <a@example.com>"}, "Old <a@example.com>"),
    ],
)
def test_the_sender(fields, sender):
    assert str(EmailConnection.model_validate({"host": "h", **fields}).sender()) == sender


@pytest.mark.parametrize("fields", [{}, {"username": "ada"}, {"fromAddress": "a@example.com, b@example.com"}])
def test_no_sender_says_what_to_add(fields):
    with pytest.raises(CredentialError, match="sender"):
        EmailConnection.model_validate({"host": "h", **fields}).sender()


def test_whom_to_trust_is_the_owners_to_say():
    """A job with an authority of its own could have the password sent to whoever is on the way."""
    ctx = context(
        read_credential=lambda _: {"host": "h", "password": "passw0rd-of-ada"},
        params={"caCertificate": "of the job", "verifyTls": False, "connectionConfig": {"caCertificate": "of the job"}},
    )
    found = read_connection(ctx, EmailConnection)
    assert found.ca_certificate is None
    assert found.verify_tls
