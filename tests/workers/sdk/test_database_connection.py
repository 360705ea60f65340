"""The connection of the database executor: how it is found, logged in to and tested, on PostgreSQL and MariaDB."""

import asyncio
import logging
import socket

import pytest

from easyalert.errors import PolicyRefused
from tests.support.database_servers import PASSWORD
from tests.support.ports import free_port
from tests.support.waiting import eventually
from workers.executors.database import Database
from workers.sdk import read_connection
from workers.sdk.database_connection import DatabaseConnection
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system


# ---- the connection -------------------------------------------------------------------------------------------------


def test_configuration_of_the_job_and_secrets_of_the_vault(server, tmp_path):
    entry = server.credential()
    vault = {"password": entry.pop("password")}
    harness = Harness(Database(), tmp_path, credential=vault)
    recorded = harness.run("executeQuery", {"query": "SELECT 1", **entry}).recorded
    assert recorded["status"] == "success", recorded
    recorded = harness.run("testConnection", {"connectionConfig": entry}).recorded
    assert recorded["status"] == "success", recorded


def test_a_job_cannot_send_the_password_elsewhere(server, tmp_path):
    harness = Harness(Database(), tmp_path, credential=server.credential())
    ran = harness.run("executeQuery", {"query": "SELECT 1", "host": "elsewhere.test"})
    assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("error", -1)
    assert "elsewhere.test" in ran.error


def test_a_connection_without_host_is_bound_to_the_default(tmp_path):
    bound = []

    def bind(connection, entry, address):
        bound.append(address)
        raise PolicyRefused("bound")

    harness = Harness(Database(), tmp_path, credential={"password": "x-password"})
    ctx = harness.context("executeQuery", {"query": "SELECT 1"})
    ctx.bind = bind
    with pytest.raises(PolicyRefused):
        asyncio.run(Database().run(ctx, "executeQuery"))
    assert bound == ["localhost"]


def test_whom_to_trust_is_the_owners_to_say(tmp_path):
    """A job with an authority of its own could have the password sent to whoever is on the way."""
    job = {"caCertificate": "of the job", "connectionConfig": {"caCertificate": "of the job"}}
    ctx = Harness(Database(), tmp_path, credential={"host": "h", "password": "x-password"}).context("executeQuery", job)
    assert read_connection(ctx, DatabaseConnection).ca_certificate is None


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"databaseType": "dbase"}, "'databaseType'"),
        ({"port": "x"}, "'port'"),
        ({"port": 70000}, "'port'"),
        ({"username": "a\nb"}, "'username'"),
        ({"dbname": "shop\n"}, "'dbname'"),
        ({"caCertificate": "no certificate"}, "'caCertificate'"),
        ({"clientKey": "only a key"}, "'clientKey'"),
        ({"readOnly": "perhaps"}, "'readOnly'"),
    ],
)
def test_bad_connections_are_explained(ask, entry, says):
    recorded = ask(None, "SELECT 1", entry={"host": "127.0.0.1", "port": 1, **entry})
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert says in recorded["error"]


def test_no_secret_in_logs_or_results(server, ask, caplog):
    caplog.set_level(logging.DEBUG)
    ask(server, "SELECT 'bound-secret-value'", bindParams={})
    ask(server, "SELECT :x", bindParams={"x": "bound-secret-value"})
    recorded = ask(server, f"SELECT '{'x' * 9}'", entry={"password": "wrong-p4ssword"})
    told = caplog.text + str(recorded)
    assert "bound-secret-value" not in told
    assert "wrong-p4ssword" not in told
    assert PASSWORD not in told


def test_a_password_in_a_result_is_redacted(server, good):
    output = good(server, "SELECT :x AS x", bindParams={"x": f"-{PASSWORD}-"})
    assert PASSWORD not in str(output["rows"])
    assert output["redactions"] == 1


# ---- ways to the server ---------------------------------------------------------------------------------------------


def test_the_name_is_looked_up_once_and_the_judged_address_dialled(server, good, monkeypatch):
    """For the query, its time-out and its cancellation: a second answer could be another address."""
    asked = []
    real = socket.getaddrinfo

    def counted(host, *args, **options):
        if host in {"localhost", b"localhost"}:
            asked.append(host)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    good(server, "SELECT 1")
    assert len(asked) == 1
    good(server, action="testConnection")
    assert len(asked) == 2


def test_no_connection_left(server, ask):
    opened = []
    try:
        full = False
        while not full:
            try:
                opened.append(server.connect())
            except Exception:  # noqa: BLE001 - each driver has its own name for it
                full = True
        entry = {"username": "reader"} if server.kind == "postgresql" else {}
        recorded = ask(server, "SELECT 1", entry=entry)
    finally:
        for connection in opened:
            connection.close()
    assert recorded["exitCode"] == 1
    assert any(words in recorded["error"] for words in ("connection left", "remaining connection", "too many clients"))
    eventually(lambda: ask(server, "SELECT 1")["status"] == "success", what="connections being free again")


def test_connection_refused(ask):
    port = free_port()
    for kind in ("postgresql", "mysql"):
        recorded = ask(None, "SELECT 1", entry={"databaseType": kind, "host": "127.0.0.1", "port": port})
        assert recorded["exitCode"] == 1
        assert f"127.0.0.1:{port}" in recorded["error"]
        assert "refused" in recorded["error"]


def test_metadata_addresses_are_refused(ask):
    recorded = ask(None, "SELECT 1", entry={"host": "169.254.169.254", "password": "x"})
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert "169.254.169.254" in recorded["error"]
