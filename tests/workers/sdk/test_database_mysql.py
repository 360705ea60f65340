"""MariaDB: its types, procedures, read-only; and servers that call themselves MySQL and want something else."""

import contextlib

import pytest

from tests.support.database_servers import PASSWORD
from tests.support.raw_tcp import rest, served

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("column", "literal", "value"),
    [
        ("int", "NULL", None),
        ("tinyint(1)", "1", 1),
        ("bigint unsigned", "18446744073709551615", 18446744073709551615),
        ("decimal(6,2)", "12.50", 12.5),
        ("decimal(30,0)", "12345678901234567890123", "12345678901234567890123"),
        ("double", "1.5", 1.5),
        ("date", "'2024-02-29'", "2024-02-29"),
        ("datetime(6)", "'2024-02-29 01:02:03.5'", "2024-02-29T01:02:03.500000"),
        ("timestamp NULL", "'2024-02-29 01:02:03'", "2024-02-29T01:02:03"),
        ("time", "'838:59:59'", "838:59:59"),
        ("time", "'-01:30:00'", "-1:30:00"),
        ("year", "2024", 2024),
        ("binary(3)", "'abc'", "[3 bytes]"),
        ("blob", "x'ff00'", "[2 bytes]"),
        ("bit(3)", "b'101'", "[1 bytes]"),
        ("text", "'ä😀'", "ä😀"),
        ("json", "'{\"a\": 1}'", '{"a": 1}'),
        ("enum('a','b')", "'b'", "b"),
        ("set('a','b')", "'a,b'", "a,b"),
        ("uuid", "'6f1c9f4e-0000-0000-0000-000000000001'", "6f1c9f4e-0000-0000-0000-000000000001"),
        ("inet6", "'::1'", "::1"),
    ],
)
def test_mariadb(mariadb, good, column, literal, value):
    mariadb.query("DROP TABLE IF EXISTS typed")
    mariadb.query(f"CREATE TABLE typed (v {column})")
    mariadb.query(f"INSERT INTO typed VALUES ({literal})")
    assert good(mariadb, "SELECT v FROM typed")["rows"] == [[value]]


def test_mariadb_defect_a14_a_server_without_autocommit_commits_all_the_same(mariadb, good, table_of_mariadb):
    mariadb.query("SET GLOBAL autocommit = 0")
    try:
        good(mariadb, "INSERT INTO t VALUES (1, 'x')")
        good(mariadb, "/* comment first */ INSERT INTO t VALUES (2, 'y')")
    finally:
        mariadb.query("SET GLOBAL autocommit = 1")
    assert mariadb.query("SELECT count(*) FROM t") == [(2,)]


def test_mariadb_dates_that_no_calendar_has(mariadb, good):
    mariadb.query("DROP TABLE IF EXISTS zero")
    mariadb.query("CREATE TABLE zero (v date, w datetime)")
    with mariadb.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        cursor.execute("INSERT INTO zero VALUES ('0000-00-00', '2024-02-00 00:00:00')")
    assert good(mariadb, "SELECT v, w FROM zero")["rows"] == [["0000-00-00", "2024-02-00 00:00:00"]]


def test_mariadb_results_of_a_procedure(mariadb, good, table_of_mariadb):
    mariadb.query("DROP PROCEDURE IF EXISTS p")
    mariadb.query("CREATE PROCEDURE p() BEGIN SELECT 1 AS a; INSERT INTO t VALUES (1, 'x'); SELECT 2 AS b; END")
    output = good(mariadb, "CALL p()")
    assert (output["columns"], output["rows"]) == (["b"], [[2]])
    assert mariadb.query("SELECT count(*) FROM t") == [(1,)]


def test_mariadb_an_error_at_the_end_of_a_procedure_is_the_jobs(mariadb, ask, table_of_mariadb):
    mariadb.query("DROP PROCEDURE IF EXISTS p")
    mariadb.query("CREATE PROCEDURE p() BEGIN SELECT 1 AS a; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not so'; END")
    recorded = ask(mariadb, "CALL p()")
    assert (recorded["exitCode"], "not so" in recorded["error"]) == (1, True)


@pytest.mark.parametrize(
    "query",
    [
        "BEGIN NOT ATOMIC COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM t; END",
        "/*! BEGIN NOT ATOMIC COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM t; END */",
        "CALL leave_it()",
        "EXECUTE IMMEDIATE 'DELETE FROM t'",
    ],
)
def test_mariadb_read_only_cannot_be_left_from_within(mariadb, ask, table_of_mariadb, query):
    mariadb.query("INSERT INTO t VALUES (1, 'x')")
    mariadb.query("DROP PROCEDURE IF EXISTS leave_it")
    mariadb.query(
        "CREATE PROCEDURE leave_it() BEGIN COMMIT; SET SESSION TRANSACTION READ WRITE; DELETE FROM t; COMMIT; END"
    )
    recorded = ask(mariadb, query, readOnly=True)
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert "cannot promise" in recorded["error"]
    assert mariadb.query("SELECT count(*) FROM t") == [(1,)]


def test_mariadb_where_a_backslash_is_a_backslash(mariadb, good):
    """The driver and the scanner have to agree with the server on where a text ends."""
    mode = mariadb.query("SELECT @@GLOBAL.sql_mode")[0][0]
    mariadb.query(f"SET GLOBAL sql_mode = '{mode},NO_BACKSLASH_ESCAPES'")
    try:
        assert good(mariadb, "SELECT '\\', :a, 'x'", bindParams={"a": "\\' , 'y"})["rows"] == [["\\", "\\' , 'y", "x"]]
    finally:
        mariadb.query(f"SET GLOBAL sql_mode = '{mode}'")


@pytest.fixture
def table_of_mariadb(mariadb):
    mariadb.query("DROP TABLE IF EXISTS t")
    mariadb.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(100))")
    yield
    mariadb.query("DROP TABLE t")


def mysql_greeting(capabilities, plugin=b"mysql_native_password"):
    low, high = capabilities & 0xFFFF, capabilities >> 16
    body = (
        b"\x0a8.0.0\0" + b"\x01\0\0\0" + b"12345678\0" + low.to_bytes(2, "little") + b"\x2d\x02\0"
        + high.to_bytes(2, "little") + b"\x15" + b"\0" * 10 + b"123456789012\0" + plugin + b"\0"
    )  # fmt: skip
    return len(body).to_bytes(3, "little") + b"\0" + body


_CAPABILITIES = 0x00000200 | 0x00008000 | 0x00080000 | 0x00000008  # 4.1, secure, plugins, with a database
_SSL = 0x00000800


def test_a_mysql_that_offers_no_tls_is_told_nothing(ask):
    """A man in the middle would take the offer out of the greeting."""

    def greet(made):
        made.sendall(mysql_greeting(_CAPABILITIES))
        return made.recv(1000)

    with served(greet) as (port, seen):
        entry = {"databaseType": "mysql", "host": "127.0.0.1", "port": port, "password": PASSWORD}
        recorded = ask(None, "SELECT 1", entry=entry)
    assert recorded["status"] == "error"
    assert "no TLS" in recorded["error"]
    assert seen == [b""]


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog"])
def test_a_mysql_that_asks_for_the_password_in_clear_text_is_not_told(ask, plugin):
    def switch(made):
        made.sendall(mysql_greeting(_CAPABILITIES))
        first = made.recv(1000)
        body = b"\xfe" + plugin + b"\0" + b"\x04Password: "
        made.sendall(len(body).to_bytes(3, "little") + b"\x02" + body)
        return first + rest(made)

    with served(switch) as (port, seen):
        entry = {
            "databaseType": "mysql", "host": "127.0.0.1", "port": port, "password": PASSWORD,
            "sslMode": "disable",
        }  # fmt: skip
        recorded = ask(None, "SELECT 1", entry=entry)
    assert recorded["status"] == "error"
    assert "clear text" in recorded["error"]
    assert PASSWORD.encode() not in seen[0]


def test_a_mysql_cannot_read_the_agents_files(ask, tmp_path_factory):
    """A server may answer a query by asking for a local file (`LOAD DATA LOCAL`)."""
    secret = tmp_path_factory.mktemp("own") / "secret"
    secret.write_text("file-of-the-agent")

    def steal(made):
        made.sendall(mysql_greeting(_CAPABILITIES))
        made.recv(1000)
        ok = b"\x00\x00\x00\x02\x00\x00\x00"
        made.sendall(len(ok).to_bytes(3, "little") + b"\x02" + ok)
        body = b"\xfb" + str(secret).encode()
        sent = b""
        with contextlib.suppress(ConnectionError):
            while chunk := made.recv(1000):
                sent += chunk
                made.sendall(len(body).to_bytes(3, "little") + b"\x01" + body)
        return sent

    with served(steal) as (port, seen):
        entry = {
            "databaseType": "mysql", "host": "127.0.0.1", "port": port, "password": PASSWORD,
            "sslMode": "disable",
        }  # fmt: skip
        recorded = ask(None, "SELECT 1", entry=entry)
    assert recorded["status"] == "error"
    assert b"file-of-the-agent" not in seen[0]
    assert "unexpected" not in recorded["error"]
