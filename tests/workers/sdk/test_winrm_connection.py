"""What a Windows host's entry in the vault may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workers.sdk.winrm_connection import WinrmConnection, codec_of

LEAST = {"host": "win.example", "username": "CORP\\ann", "password": "pass-w0rd-of-ann"}


def made(**more):
    return WinrmConnection.model_validate(LEAST | more)


def refused(**more):
    with pytest.raises(ValidationError) as error:
        made(**more)
    assert "pass-w0rd" not in str(error.value)
    return str(error.value)


def test_what_it_is_when_the_entry_says_the_least():
    connection = made()
    assert (connection.use_ssl, connection.transport, connection.on_port) == (False, "ntlm", 5985)
    assert (connection.verify_tls, connection.allow_unencrypted, connection.codepage) == (True, False, 65001)
    assert "pass-w0rd" not in repr(connection)


@pytest.mark.parametrize(
    ("more", "port"), [({"useSsl": True}, 5986), ({"useSsl": True, "port": 443}, 443), ({"port": "80"}, 80)]
)
def test_ports(more, port):
    assert made(**more).on_port == port


@pytest.mark.parametrize(
    ("given", "transport"),
    [("ntlm", "ntlm"), (" NTLM ", "ntlm"), ("Basic", "basic"), ("ssl", "basic"), ("plaintext", "basic")],
)
def test_names_of_ways_to_log_in(given, transport):
    assert made(transport=given, useSsl=True).transport == transport


@pytest.mark.parametrize("given", ["negotiate", "CredSSP", "certificate"])
def test_ways_that_are_not_spoken(given):
    assert f"is {given.lower()}, which this agent does not speak; use ntlm" in refused(transport=given)


@pytest.mark.parametrize("given", ["", "digest", "ntlm\nbasic", 5, None, ["ntlm"]])
def test_what_is_no_way_to_log_in(given):
    assert "must be ntlm, basic or kerberos" in refused(transport=given)


def test_defect_c12_basic_without_tls_needs_the_owners_word():
    assert "clear text and is refused" in refused(transport="basic")
    assert made(transport="basic", allowUnencrypted=True).transport == "basic"


def test_kerberos_needs_its_library(monkeypatch):
    assert "lacks pyspnego[kerberos]" in refused(transport="kerberos")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    assert made(transport="kerberos").transport == "kerberos"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0), ("port", 65536), ("host", "a\n"), ("username", "a\rb"), ("password", ""), ("useSsl", "maybe"),
        ("codepage", 0), ("codepage", 12345), ("codepage", "utf-8"),
    ],
)  # fmt: skip
def test_what_cannot_be(field, value):
    assert field in refused(**{field: value})


@pytest.mark.parametrize(("codepage", "name"), [(65001, "utf-8"), (437, "cp437"), (1252, "cp1252"), (932, "cp932")])
def test_code_pages(codepage, name):
    assert codec_of(codepage).name == name
