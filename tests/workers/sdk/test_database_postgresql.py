"""PostgreSQL: its types, one statement, read-only, errors, poolers, and whom it is told a password."""

import contextlib
import socket
import threading

import pytest

from tests.support.database_servers import PASSWORD
from tests.support.raw_tcp import rest, served
from tests.workers.executors.test_database_tls import root

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("NULL", None),
        ("true", True),
        ("9223372036854775807::bigint", 9223372036854775807),
        ("1.5::float8", 1.5),
        ("'NaN'::float8", "NaN"),
        ("'-Infinity'::float4", "-Infinity"),
        ("'NaN'::numeric", "NaN"),
        ("'Infinity'::numeric", "Infinity"),
        ("12.50::numeric(6,2)", 12.5),
        ("12345678901234567890123::numeric", "12345678901234567890123"),
        ("avg(x) FROM (VALUES (1), (1), (2)) AS v(x)", 4 / 3),
        ("sum(x) FROM (VALUES (1::bigint), (2)) AS v(x)", 3.0),
        ("'12.34'::money", "$12.34"),
        ("'2024-02-29'::date", "2024-02-29"),
        ("'2024-02-29 01:02:03'::timestamp", "2024-02-29T01:02:03"),
        ("'2024-02-29 01:02:03.5'::timestamp", "2024-02-29T01:02:03.500000"),
        ("'2024-02-29 01:02:03+00'::timestamptz AT TIME ZONE 'UTC'", "2024-02-29T01:02:03"),
        ("'01:02:03'::time", "01:02:03"),
        ("'01:02:03+02'::timetz", "01:02:03+02:00"),
        ("'infinity'::date", "infinity"),
        ("'-infinity'::timestamp", "-infinity"),
        ("'0044-03-15 BC'::date", "0044-03-15 BC"),
        ("'10000-01-01'::date", "10000-01-01"),
        ("'1 month 3 days 04:05:06'::interval", "1 mon 3 days 04:05:06"),
        ("'6f1c9f4e-0000-0000-0000-000000000001'::uuid", "6f1c9f4e-0000-0000-0000-000000000001"),
        ("'\\xff00'::bytea", "[2 bytes]"),
        ("ARRAY[1, NULL, 3]", [1, None, 3]),
        ("ARRAY[['a', 'b'], ['c', 'd']]", [["a", "b"], ["c", "d"]]),
        ("ARRAY['2024-01-01'::date, 'infinity']", ["2024-01-01", "infinity"]),
        ("ARRAY[1.5::numeric, 'NaN']", [1.5, "NaN"]),
        ('\'{"a": [1, null, {"b": "ä"}]}\'::jsonb', {"a": [1, None, {"b": "ä"}]}),
        ("'[1e999]'::json", ["Infinity"]),
        ("'\"\\ud83d\\ude00\"'::json", "😀"),
        ("int4range(1, 5)", "[1,5)"),
        ("'empty'::int4range", "empty"),
        ("numrange(NULL, 5)", "(,5)"),
        ("int4multirange(int4range(1, 3), int4range(5, 9))", "{[1,3),[5,9)}"),
        ("daterange('2024-01-01', 'infinity')", "[2024-01-01,infinity)"),
        ("'10.0.0.1/8'::inet", "10.0.0.1/8"),
        ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
        ("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
        ("'sad'::mood", "sad"),
        ("ARRAY['sad', 'glad']::mood[]", "{sad,glad}"),
        ("7::small", 7),
        ("ROW(1, 'x')", ["1", "x"]),
        ("B'101'", "101"),
        ("'(1,2)'::point", "(1,2)"),
        ("'a & b'::tsquery", "'a' & 'b'"),
        ("'<a/>'::xml", "<a/>"),
        ("'x'::\"char\"", "x"),
        ("'pg_class'::regclass", "pg_class"),
        ("pg_sleep(0)", ""),
        ("'x'::name", "x"),
        ("'ab'::char(4)", "ab  "),
        ("'😀 \t\n'", "😀 \t\n"),
    ],
)
def test_postgresql(postgres, good, expression, value):
    postgres.query("DROP TYPE IF EXISTS mood; CREATE TYPE mood AS ENUM ('sad', 'glad')")
    postgres.query("DROP DOMAIN IF EXISTS small; CREATE DOMAIN small AS int CHECK (VALUE < 10)")
    # of one type NaN is told as text, not as NULL (defect A3)
    assert good(postgres, f"SELECT {expression}")["rows"] == [[value]]


def test_postgresql_text_that_is_no_text_is_replaced(postgres, good):
    """A database without encoding may hold any bytes; one of them must not cost the result."""
    postgres.query("DROP DATABASE IF EXISTS raw")
    postgres.query("CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0")
    output = good(postgres, "SELECT 'a' || convert_from('\\xff'::bytea, 'SQL_ASCII') AS v", entry={"dbname": "raw"})
    assert output["rows"] == [["a\ufffd"]]


def test_postgresql_arrays_as_parameters(postgres, good):
    query = "SELECT i FROM generate_series(1, 9) AS n(i) WHERE i = ANY(:ids) AND NOT i::text = ANY(:names)"
    assert good(postgres, query, bindParams={"ids": [2, 3, 5], "names": ["3"]})["rows"] == [[2], [5]]


def test_postgresql_rows_of_a_change_are_returned_with_their_number(postgres, good):
    postgres.query("DROP TABLE IF EXISTS r; CREATE TABLE r (id int)")
    output = good(postgres, "INSERT INTO r SELECT generate_series(1, 3) RETURNING id", maxRows=2)
    assert (output["queryType"], output["rows"], output["rowsAffected"]) == ("select", [[1], [2]], 3)
    assert postgres.query("SELECT count(*) FROM r") == [(3,)]


def test_postgresql_defect_a14_a_change_inside_with_is_committed(postgres, good):
    postgres.query("DROP TABLE IF EXISTS w; CREATE TABLE w (id int)")
    good(postgres, "WITH x AS (INSERT INTO w SELECT generate_series(1, 2000) RETURNING id) SELECT id FROM x", maxRows=1)
    assert postgres.query("SELECT count(*) FROM w") == [(2000,)]


def test_postgresql_statements_that_allow_no_transaction(postgres, good):
    assert good(postgres, "VACUUM")["statusMessage"] == "VACUUM"


@pytest.mark.parametrize(
    "query", ["COPY pg_class TO STDOUT", "CREATE TABLE IF NOT EXISTS c (a int); COPY c FROM STDIN"]
)
def test_postgresql_copy_with_the_client_is_refused(postgres, ask, query):
    recorded = ask(postgres, query, multi=";" in query)
    assert recorded["status"] == "error"
    assert "'query' is a COPY" in recorded["error"]


def test_postgresql_a_read_only_transaction_cannot_be_left_from_within(postgres, ask):
    postgres.query("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT 1 AS a")
    postgres.query(
        "CREATE OR REPLACE PROCEDURE leave_it() LANGUAGE plpgsql AS"
        " 'BEGIN SET TRANSACTION READ WRITE; DELETE FROM kept; END'"
    )
    for query in (
        "CALL leave_it()",
        "DO $$ BEGIN SET TRANSACTION READ WRITE; DELETE FROM kept; END $$",
        "DO $$ BEGIN COMMIT; SET TRANSACTION READ WRITE; DELETE FROM kept; END $$",
        "WITH s AS (SELECT set_config('transaction_read_only', 'off', false)),"  # noqa: ISC004 - one long statement
        " d AS (DELETE FROM kept RETURNING 1) SELECT * FROM s, d",
    ):
        assert ask(postgres, query, readOnly=True)["status"] == "error"
    assert postgres.query("SELECT * FROM kept") == [(1,)]


def test_postgresql_the_place_of_an_error_is_counted_in_the_jobs_text(postgres, ask):
    recorded = ask(postgres, "\n  SELECT 1,\n    nowhere_column\nFROM pg_class")
    assert "line 2, column 5" in recorded["error"]
    assert (recorded["output"]["serverError"]["line"], recorded["output"]["serverError"]["column"]) == (2, 5)
    recorded = ask(postgres, "SELECT :a::int,\n nowhere_column", bindParams={"a": 1})
    assert recorded["error"].endswith("at line 2")


def test_postgresql_values_of_a_row_are_not_in_the_error(postgres, ask):
    postgres.query("DROP TABLE IF EXISTS k; CREATE TABLE k (email text PRIMARY KEY); INSERT INTO k VALUES ('a@b.test')")
    recorded = ask(postgres, "INSERT INTO k VALUES ('a@b.test')")
    assert "duplicate key" in recorded["error"]
    assert "a@b.test" not in str(recorded)


@contextlib.contextmanager
def pooler(port):
    """In front of PostgreSQL, and like PgBouncer it takes no `options`; how often it has said so is in the list."""
    listening = socket.create_server(("127.0.0.1", 0))
    refused = []
    said = b"SFATAL\0C08P01\0Munsupported startup parameter in options: statement_timeout\0\0"

    def pipe(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(client):
        with client:
            first = client.recv(4096)
            if b"\0options\0" in first:
                refused.append(first)
                client.sendall(b"E" + (len(said) + 4).to_bytes(4, "big") + said)
                return
            with socket.create_connection(("127.0.0.1", port)) as upstream:
                upstream.sendall(first)
                back = threading.Thread(target=pipe, args=(upstream, client))
                back.start()
                pipe(client, upstream)
                back.join()

    def accept():
        threads = []
        while True:
            try:
                client, _ = listening.accept()
            except OSError:  # shut down
                break
            threads.append(threading.Thread(target=serve, args=(client,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[1], refused
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()
        listening.close()


def test_a_pooler_that_takes_no_options(postgres, good):
    with pooler(postgres.port) as (port, refused):
        entry = {"port": port, "sslMode": "disable"}
        assert good(postgres, "SELECT 7", entry=entry)["rows"] == [[7]]
        assert len(refused) == 1


def test_a_password_in_clear_text_is_only_for_who_is_verified(postgres, ask, good):
    """PostgreSQL's `password` method, which needs the server to be the server."""
    recorded = ask(postgres, "SELECT 1", entry={"username": "clear"})
    assert recorded["status"] == "error"
    assert "clear text" in recorded["error"]
    assert "verify-full" in recorded["error"]
    good(postgres, "SELECT 1", entry={"username": "clear", "caCertificate": root(postgres.authority)})


def test_a_postgresql_that_offers_no_tls_is_told_nothing(ask):
    def refuse(made):
        first = made.recv(100)
        made.sendall(b"N")
        return first + rest(made)

    with served(refuse) as (port, seen):
        entry = {"host": "127.0.0.1", "port": port, "password": PASSWORD}
        test = ask(None, action="testConnection", entry=entry)
        recorded = ask(None, "SELECT 1", entry=entry)
    for answer in (test, recorded):
        assert answer["status"] == "error"
        assert "no TLS" in answer["error"]
    assert all(sent in {b"", b"\0\0\0\x08\x04\xd2\x16\x2f"} for sent in seen)
