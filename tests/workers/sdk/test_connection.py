from __future__ import annotations

from typing import ClassVar

import pytest

from easyalert.errors import CredentialError, PolicyRefused
from tests.workers.sdk.test_context import context
from workers.sdk import Connection, SecretText, read_connection
from workers.sdk.connection import OwnersFlag, secret_names
from workers.sdk.parameters import Line

SECRET = "s3cr3t-of-the-vault"


class Shell(Connection):
    host: Line
    port: int = 22
    username: Line = "root"
    password: SecretText | None = None
    lax: OwnersFlag = False


class Hook(Connection):
    address: ClassVar = ("webhookUrl",)
    needs_entry: ClassVar = False
    webhookUrl: SecretText | None = None  # noqa: N815 - a wire name


def of(entry, params=None, **changes):
    return context(read_credential=lambda _: entry, params=params or {}, **changes)


def test_an_entry_that_holds_everything_is_used_as_it_is():
    found = read_connection(of({"host": "10.0.0.5", "port": "2222", "username": "ada", "password": SECRET}), Shell)
    assert (found.host, found.port, found.username, found.password) == ("10.0.0.5", 2222, "ada", SECRET)


@pytest.mark.parametrize(
    "params",
    [
        {"host": "10.0.0.5", "port": 2222},
        {"connectionConfig": {"host": "10.0.0.5", "port": 2222}},
        {"host": "10.0.0.5", "connectionConfig": {"host": "10.9.9.9", "port": "2222"}},
    ],
    ids=["top level", "nested", "the top level wins"],
)
def test_configuration_comes_from_the_job_and_the_secret_from_the_vault(params):
    found = read_connection(of({"password": SECRET}, params), Shell)
    assert (found.host, found.port, found.password) == ("10.0.0.5", 2222, SECRET)


def test_the_vault_wins_where_both_say_something():
    ctx = of({"host": "h", "username": "ada", "password": SECRET}, {"username": "eve", "password": "another-secret"})
    found = read_connection(ctx, Shell)
    assert (found.username, found.password) == ("ada", SECRET)


def test_blank_values_of_the_vault_count_as_not_given():
    assert (
        read_connection(of({"host": "h", "username": " ", "password": None}, {"username": "ada"}), Shell).username
        == "ada"
    )


def test_a_secret_of_the_job_counts_where_the_vault_has_none_and_is_hidden():
    ctx = of(None, {"webhookUrl": "https://hooks.example/secret-path"})
    assert read_connection(ctx, Hook).webhookUrl == "https://hooks.example/secret-path"
    assert "secret-path" not in ctx.redactor.text("failed: https://hooks.example/secret-path")


@pytest.mark.parametrize("host", ["10.0.0.6", "evil.example", "h.example"])
def test_a_secret_is_not_sent_to_another_address_than_its_entry_names(host):
    ctx = of({"host": "10.0.0.5", "password": SECRET}, {"host": host})
    with pytest.raises(PolicyRefused, match=r"belongs to 10\.0\.0\.5 and is not sent to") as refusal:
        read_connection(ctx, Shell)
    assert SECRET not in str(refusal.value)


@pytest.mark.parametrize(("own", "asked"), [("H.Example", "h.example."), ("::1", "0:0:0:0:0:0:0:1")])
def test_the_same_address_in_another_spelling_is_the_same(own, asked):
    assert read_connection(of({"host": own, "password": SECRET}, {"host": asked}), Shell).host == own


def test_an_entry_without_address_is_bound_to_the_first_one_it_is_used_for():
    bound = []
    ctx = of({"password": SECRET}, {"host": "H.example"}, bind=lambda *told: bound.append(told))
    read_connection(ctx, Shell)
    assert bound == [("conn-web-01", {"password": SECRET}, "h.example")]


def test_what_the_binding_refuses_is_refused():
    def refuse(*_):
        raise PolicyRefused("bound elsewhere")

    with pytest.raises(PolicyRefused, match="bound elsewhere"):
        read_connection(of({"password": SECRET}, {"host": "h"}, bind=refuse), Shell)


def test_without_a_secret_nothing_is_bound():
    bound = []
    read_connection(of({"username": "ada"}, {"host": "h"}, bind=lambda *told: bound.append(told)), Shell)
    assert bound == []


@pytest.mark.parametrize(
    ("entry", "params", "sentence"),
    [
        ({"password": SECRET}, {}, "connection 'conn-web-01' has no 'host'; add it"),
        ({"host": "h", "port": "x" + SECRET}, {}, "'port' of connection 'conn-web-01' "),
        ({"host": "h\nproxy", "password": SECRET}, {}, "'host' of connection 'conn-web-01' holds a line break"),
        ({"host": ["h"], "password": SECRET}, {}, "'host' of connection 'conn-web-01' "),
        ({"password": SECRET}, {"connectionConfig": "h"}, "parameter 'connectionConfig' must be an object"),
        (None, {"host": "h"}, "the vault of this agent has no credential for connection 'conn-web-01'"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_never_quoted(entry, params, sentence):
    with pytest.raises(CredentialError) as refusal:
        read_connection(of(entry, params), Shell)
    assert sentence in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_secrets_are_marked_and_never_shown():
    assert secret_names(Shell) == ["password"]
    shown = Shell(host="h", password=SECRET)
    assert SECRET not in f"{shown!r} {shown}"


def test_what_weakens_a_protection_is_the_owners_to_say():
    assert read_connection(of({"host": "h", "lax": True}), Shell).lax
    assert not read_connection(of({"host": "h"}, {"lax": True, "connectionConfig": {"lax": True}}), Shell).lax
