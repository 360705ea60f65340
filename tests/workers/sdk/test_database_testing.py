"""The steps of a database connection's test, on PostgreSQL and MariaDB; those of TLS are with the tests of TLS."""

import pytest

from tests.support.database_servers import DATABASE

pytestmark = pytest.mark.system


def test_the_test_logs_in_and_reports_its_steps(server, good):
    output = good(server, action="testConnection")
    assert output["host"] == "localhost"
    assert output["port"] == server.port
    assert (output["databaseType"], output["dbname"]) == (server.kind, DATABASE)
    assert [step["step"] for step in output["steps"]] == ["name", "tcp", "tls", "login", "permission"]
    assert all(step["ok"] for step in output["steps"])


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"password": "wrong"}, "password"),
        ({"password": ""}, "password"),
        ({"username": "nobody-here"}, "password"),
        ({"dbname": "no_such_database"}, "no_such_database"),
    ],
)
def test_defect_a21_a_refused_login_fails_the_test_and_the_query(server, ask, entry, says):
    recorded = ask(server, action="testConnection", entry=entry)
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert recorded["error"].startswith("login: ")
    assert says in recorded["error"]
    assert [step["step"] for step in recorded["output"]["steps"] if not step["ok"]] == ["login"]
    recorded = ask(server, "SELECT 1", entry=entry)
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert says in recorded["error"]
