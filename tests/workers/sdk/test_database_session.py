"""Sessions without a server: drivers that are missing, and what SQL Server and Oracle refuse or cannot do."""

import importlib
import sys

import pytest

from tests.support.ports import free_port
from tests.support.raw_tcp import served
from workers.sdk.database_connection import DatabaseConnection, TlsFiles
from workers.sdk.database_session import Plan, session_class

pytestmark = pytest.mark.system

DRIVERS = {"mssql": "pymssql", "oracle": "oracledb"}


@pytest.fixture(params=["mssql", "oracle"])
def kind(request):
    return request.param


def session(kind, **fields):
    given = {"databaseType": kind, "host": "db.test", "username": "u", "password": "p", "dbname": "d", **fields}
    connection = DatabaseConnection.model_validate(given)
    plan = Plan(connection, TlsFiles(None, None, None), connection.tls, 35.0, connect_s=7.0, address="10.9.8.7")
    return session_class(kind)(plan)


def test_a_missing_driver_is_an_error_that_says_what_to_install(kind, ask, monkeypatch):
    module = f"workers.sdk.database_{kind}"
    monkeypatch.setitem(sys.modules, DRIVERS[kind], None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    for action in ("executeQuery", "testConnection"):
        recorded = ask(None, "SELECT 1", action=action, entry={"databaseType": kind, "host": "127.0.0.1", "port": 1})
        assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
        assert f"pip install 'easyalert-agents[{kind}]'" in recorded["error"]
    monkeypatch.undo()
    importlib.import_module(module)


def test_read_only_is_refused_where_no_server_keeps_to_it(kind, ask):
    for entry, params in (({}, {"readOnly": True}), ({"readOnly": True}, {})):
        recorded = ask(
            None, "SELECT 1", entry={"databaseType": kind, "host": "127.0.0.1", "port": 1, **entry}, **params
        )
        assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
        assert "'readOnly'" in recorded["error"]
        assert "account without rights to write" in recorded["error"]


def test_a_closed_port_fails_the_tcp_step(kind, ask):
    entry = {"databaseType": kind, "host": "127.0.0.1", "port": free_port()}
    recorded = ask(None, action="testConnection", entry=entry, timeout=10)
    assert recorded["exitCode"] == 1
    assert [(step["step"], step["ok"]) for step in recorded["output"]["steps"]] == [("name", True), ("tcp", False)]


def test_an_open_port_passes_the_tcp_step_and_is_no_success(kind, ask):
    """Defect A21: with the old agent it was."""

    def hang_up(made):
        return made.recv(1000)

    with served(hang_up) as (port, _):
        entry = {"databaseType": kind, "host": "127.0.0.1", "port": port, "sslMode": "disable"}
        recorded = ask(None, action="testConnection", entry=entry | {"password": "x-password"}, timeout=5)
    steps = {step["step"]: step["ok"] for step in recorded["output"]["steps"]}
    assert recorded["status"] == "error"
    assert (steps["name"], steps["tcp"]) == (True, True)
    assert not steps.get("login", False)


def test_several_statements_and_lists_are_refused_where_they_do_not_exist(kind, ask):
    entry = {"databaseType": kind, "host": "127.0.0.1", "port": 1}
    assert "'bindParams'" in ask(None, "SELECT ?", entry=entry, bindParams=[[1]])["error"]
    if kind == "oracle":
        assert "'multi'" in ask(None, "SELECT 1", entry=entry, multi=True)["error"]
