"""The database executor on PostgreSQL and MariaDB: what is the same on both (contract 3.10)."""

import resource
import threading
from typing import ClassVar

import pytest

from easyalert.errors import InvalidParameter
from tests.support.database_servers import DATABASE
from tests.support.waiting import eventually
from workers.executors.database import Database, QueryParameters
from workers.sdk.executor import parse
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

pytestmark = pytest.mark.system


class TestContract(ExecutorContract):
    """What every executor promises. The samples meet a closed port."""

    executor = Database
    samples: ClassVar = {"executeQuery": {"query": "SELECT 1"}, "testConnection": {}}

    def harness(self, tmp_path):
        return Harness(self.executor(), tmp_path, credential={"host": "127.0.0.1", "port": 1, "password": "x-password"})


@pytest.fixture
def table(server):
    """`t(id, name)`, empty."""
    server.query("DROP TABLE IF EXISTS t")
    server.query("CREATE TABLE t (id int PRIMARY KEY, name varchar(100))")
    yield "t"
    server.query("DROP TABLE t")


# ---- results --------------------------------------------------------------------------------------------------------


def test_a_select(server, good):
    output = good(server, " SELECT 1 AS id, 'ä' AS name \n")
    assert output == {
        "queryType": "select", "columns": ["id", "name"], "rows": [[1, "ä"]], "rowCount": 1, "truncated": False,
        "databaseType": server.kind, "dbname": DATABASE, "tls": "not verified",
    }  # fmt: skip


def test_a_change(server, good, table):
    output = good(server, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    word = "INSERT 0 2" if server.kind == "postgresql" else "INSERT 2"
    assert output == {
        "queryType": "modify", "rowsAffected": 2, "statusMessage": word,
        "databaseType": server.kind, "dbname": DATABASE, "tls": "not verified",
    }  # fmt: skip
    assert server.query("SELECT count(*) FROM t") == [(2,)]


def test_an_empty_result_has_its_columns(server, good, table):
    output = good(server, "SELECT id, name FROM t")
    assert (output["columns"], output["rows"], output["truncated"]) == (["id", "name"], [], False)


def test_columns_of_the_same_name_stay_apart(server, good):
    output = good(server, "SELECT 1 AS a, 2 AS a, NULL AS a")
    assert (output["columns"], output["rows"]) == (["a", "a", "a"], [[1, 2, None]])


@pytest.mark.parametrize(
    "query", ["-- note\nSELECT 7", "/* note */ (SELECT 7)", "VALUES (7)", "TABLE sevens", "WITH x AS (SELECT 7) SELECT * FROM x"]
)  # fmt: skip
def test_defect_a15_rows_come_back_whatever_the_first_word_is(server, good, query):
    if query.startswith("TABLE") and server.kind == "mysql":
        query = "(SELECT * FROM sevens)"  # MariaDB has no TABLE
    server.query("CREATE OR REPLACE VIEW sevens AS SELECT 7 AS seven")
    output = good(server, query)
    assert (output["queryType"], output["rows"]) == ("select", [[7]])


def test_defect_a14_a_select_of_a_writing_function_is_committed(server, good, table):
    if server.kind == "postgresql":
        server.query(
            "CREATE OR REPLACE FUNCTION put(n int) RETURNS int LANGUAGE sql AS"
            " 'INSERT INTO t VALUES (n, ''f''); SELECT n'"
        )
    else:
        server.query("DROP FUNCTION IF EXISTS put")
        server.query("CREATE FUNCTION put(n int) RETURNS int BEGIN INSERT INTO t VALUES (n, 'f'); RETURN n; END")
    assert good(server, "/* c */ SELECT put(5)")["rows"] == [[5]]
    assert server.query("SELECT id FROM t") == [(5,)]


def test_defect_a14_rows_past_the_limit_have_their_effect_too(server, good, table):
    test_defect_a14_a_select_of_a_writing_function_is_committed(server, good, table)
    numbers = "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 309) SELECT put(i) FROM n"
    output = good(server, numbers, maxRows=3)
    assert (output["rows"], output["truncated"], output["totalRows"]) == ([[10], [11], [12]], True, 300)
    assert server.query("SELECT count(*) FROM t") == [(301,)]


def test_defect_a14_an_error_after_the_last_wanted_row_is_the_jobs_error(server, ask, table):
    server.query("INSERT INTO t VALUES (1, '1'), (2, '1'), (3, '0')")
    if server.kind == "postgresql":
        query = "SELECT i, 1 / (200 - i) FROM generate_series(1, 300) AS n(i)"
    else:
        # a row whose subquery gives two
        query = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
            " SELECT i, (SELECT 1 UNION ALL SELECT 2 FROM dual WHERE i = 200) FROM n"
        )
    recorded = ask(server, query, maxRows=2)
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert recorded["output"]["rows"][0][0] == 1
    assert recorded["output"]["truncated"] is True


def test_a_large_table_costs_little_memory_and_is_counted(server, good):
    """Defect B7. The peak of the process must not grow by what the rows hold: 100 MB."""
    big = "x" * 1000
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT '{big}' AS v FROM n, (SELECT * FROM n LIMIT 110) AS m"
    good(server, "SELECT 1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    output = good(server, numbers, maxRows=10)
    assert output["totalRows"] == 99_000
    assert output["rowCount"] == 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


def test_a_huge_value_is_cut_with_its_size(server, good):
    output = good(server, "SELECT repeat('x', 1000000) AS v, 1 AS one")
    assert output["cellsCut"] == [{"row": 0, "column": "v", "bytes": 1_000_000}]
    assert output["rows"][0][1] == 1
    assert output["truncated"] is True


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["'; DROP TABLE t; --", "\\' OR 1=1 -- ", "%s ? :a $1", "äöü\n\t", "", "''", '"'])
def test_defect_c13_a_bound_text_is_a_text(server, good, table, value):
    good(server, "INSERT INTO t VALUES (:id, :name)", bindParams={"id": 1, "name": value})
    assert server.query("SELECT name FROM t") == [(value,)]
    assert good(server, "SELECT id FROM t WHERE name = ?", bindParams=[value])["rows"] == [[1]]


def test_bound_values_keep_their_types(server, good, table):
    good(server, "INSERT INTO t VALUES (?, ?)", bindParams=[2, None])
    assert server.query("SELECT id, name FROM t") == [(2, None)]
    assert good(server, "SELECT count(*) FROM t WHERE id < :x", bindParams={"x": 2.5})["rows"] == [[1]]
    assert good(server, "SELECT 1 FROM t WHERE true = :x", bindParams={"x": True})["rows"] == [[1]]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"query": ""}, "'query' must not be blank"),
        ({"query": " \n"}, "'query' must not be blank"),
        ({"query": "SELECT '" + "x" * 10_000 + "'"}, "longer than 10000"),
        ({"query": "SELECT 1\0"}, "NUL"),
        ({"query": "SELECT '\ud800'"}, "surrogates"),
        ({"query": ["SELECT 1"]}, "'query'"),
        ({"query": "SELECT 1", "maxRows": 0}, "'maxRows'"),
        ({"query": "SELECT 1", "maxRows": True}, "'maxRows'"),
        ({"query": "SELECT 1", "bindParams": "x"}, "'bindParams' must be an object"),
        ({"query": "SELECT 1", "bindParams": {"a": {}}}, "'bindParams' holds a value that is no text"),
        ({"query": "SELECT 1", "bindParams": ["\0"]}, "'bindParams' holds a NUL"),
        ({"query": "SELECT 1", "bindParams": [2**64]}, "64 bits"),
        ({"query": "SELECT 1", "bindParams": {"a b": 1}}, "no name"),
        ({"query": "SELECT 1", "bindParams": [1] * 1001}, "more than 1000"),
        ({"query": "SELECT 1", "multi": True, "readOnly": True}, "'multi'"),
        ({"query": "SELECT 1", "multi": True, "bindParams": [1]}, "'multi'"),
        ({"query": "SELECT 1", "timeout": -1}, "'timeout'"),
    ],
)
def test_bad_parameters_are_named(ask, params, says):
    recorded = ask(None, entry={"host": "127.0.0.1", "port": 1}, **params)
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert says in recorded["error"]


def test_a_query_of_exactly_the_limit_is_run(server, good):
    query = "SELECT '" + "x" * (10_000 - 9) + "'"
    assert len(query) == 10_000
    assert len(good(server, f"\n{query}  ")["rows"][0][0]) == 9_991


def test_more_rows_than_possible_means_all_that_are_possible(server, good):
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT i FROM n"
    output = good(server, numbers.replace("1001", "990"), maxRows="5000")
    assert (output["rowCount"], output["truncated"]) == (990, False)
    if server.kind == "postgresql":  # MariaDB ends recursions at 1000
        output = good(server, numbers, maxRows="5000")
        assert (output["rowCount"], output["truncated"], output["totalRows"]) == (1000, True, 1001)


# ---- one statement, read-only ---------------------------------------------------------------------------------------


def test_defect_c13_a_second_statement_is_refused_unless_asked_for(server, ask, good, table):
    recorded = ask(server, "SELECT 1; INSERT INTO t VALUES (1, 'x')")
    assert recorded["status"] == "error"
    assert "multi: true" in recorded["error"]
    assert server.query("SELECT count(*) FROM t") == [(0,)]
    good(server, "INSERT INTO t VALUES (1, 'x'); INSERT INTO t VALUES (2, 'y')", multi=True)
    assert good(server, "SELECT 1; SELECT count(*) FROM t", multi=True)["rows"] == [[2]]


def test_an_error_of_the_second_statement_is_the_jobs(server, ask, table):
    recorded = ask(server, "SELECT 1; SELECT nothing FROM nowhere", multi=True)
    assert recorded["status"] == "error"
    assert "nowhere" in recorded["error"]


@pytest.mark.parametrize("where", ["job", "connection"])
def test_read_only_is_enforced_by_the_server(server, ask, good, table, where):
    params = {"readOnly": True} if where == "job" else {"entry": {"readOnly": True}}
    test_defect_a14_a_select_of_a_writing_function_is_committed(server, good, table)
    for query in (
        "DELETE FROM t",
        "INSERT INTO t VALUES (9, 'x')",
        "SELECT put(6)",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "CREATE TABLE u (a int)",
        "DROP TABLE t",
        "TRUNCATE t",
        "EXPLAIN ANALYZE DELETE FROM t" if server.kind == "postgresql" else "ANALYZE DELETE FROM t",
        "SELECT 1; DELETE FROM t",
    ):
        assert ask(server, query, **params)["status"] == "error", query
    assert server.query("SELECT id FROM t") == [(5,)]
    assert good(server, "SELECT count(*) FROM t", **params)["rows"] == [[1]]


def test_a_job_cannot_lift_the_connections_read_only(server, ask, table):
    assert ask(server, "DELETE FROM t", entry={"readOnly": True}, readOnly=False)["status"] == "error"


def test_a_read_only_result_that_is_cut_ends_at_once(server, good):
    output = good(server, "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3", maxRows=2, readOnly=True)
    assert (output["rowCount"], output["truncated"]) == (2, True)
    output = good(server, "SELECT 1 UNION ALL SELECT 2", maxRows=2, readOnly=True)
    assert (output["rowCount"], output["truncated"]) == (2, False)


def test_only_read_only_queries_may_be_repeated():
    spec = Database.actions["executeQuery"]
    assert spec.may_repeat({"query": "SELECT 1", "readOnly": True}) is True
    assert spec.may_repeat({"query": "SELECT 1"}) is False
    assert spec.may_repeat({"query": "SELECT 1", "readOnly": "perhaps"}) is False
    assert Database.actions["testConnection"].may_repeat({}) is True


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_a_syntax_error_says_where_and_does_not_quote(server, ask):
    recorded = ask(server, "SELECT 1,\n  2 FRM 'hush-hush-hush'")
    assert recorded["exitCode"] == 1
    assert "line 2" in recorded["error"]
    assert "hush" not in str(recorded)


def test_an_unknown_table_is_named(server, ask):
    recorded = ask(server, "SELECT * FROM missing_table")
    assert (recorded["exitCode"], recorded["output"]["dbname"]) == (1, DATABASE)
    assert "missing_table" in recorded["error"]
    assert f"localhost:{server.port}" in recorded["error"]


def test_permission_denied(server, ask, table):
    if server.kind == "mysql":
        server.query("GRANT SELECT ON shop.t TO reader@'%'")
    recorded = ask(server, "DELETE FROM t", entry={"username": "reader"})
    assert recorded["exitCode"] == 1
    assert "denied" in recorded["error"]


def test_a_deadlock_says_what_remains(server, ask, table):
    """The job holds row 1 and waits for a gate; the other one holds row 2 and waits for row 1; then the gate opens."""
    server.query("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    lock, unlock = {
        "postgresql": ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"),
        "mysql": ("SELECT GET_LOCK('seven', 60)", "SELECT RELEASE_LOCK('seven')"),
    }[server.kind]
    with server.connect() as gate, server.connect() as other, gate.cursor() as keeper, other.cursor() as cursor:
        keeper.execute(lock)
        if server.kind == "postgresql":
            cursor.execute("SET deadlock_timeout = '60s'")  # the job is to find it
        cursor.execute("BEGIN")
        for number in range(100, 200):
            cursor.execute(f"INSERT INTO t VALUES ({number}, 'weight')")  # the lighter one is MariaDB's victim
        cursor.execute("UPDATE t SET name = 'y' WHERE id = 2")

        def cross():
            eventually(lambda: server.running(lock.removeprefix("SELECT ")[:8]), what="the job at the gate")
            waiting.start()
            eventually(lambda: server.running("'y' WHERE id = 1"), what="the other one waiting")
            keeper.execute(unlock)

        waiting = threading.Thread(target=lambda: cursor.execute("UPDATE t SET name = 'y' WHERE id = 1"))
        crossing = threading.Thread(target=cross)
        crossing.start()
        update = "UPDATE t SET name = 'x' WHERE id ="
        recorded = ask(server, f"BEGIN; {update} 1; {lock}; {update} 2; COMMIT", multi=True)
        crossing.join()
        waiting.join()
        cursor.execute("ROLLBACK")
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert "deadlock: the server ended this statement, nothing of it remains" in recorded["error"]
    assert server.query("SELECT name FROM t WHERE id IN (1, 2) ORDER BY id") == [("a",), ("b",)]


def test_a_lock_wait_ends_with_the_servers_word(server, ask, table):
    server.query("INSERT INTO t VALUES (1, 'a')")
    with server.connect() as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE t SET name = 'y' WHERE id = 1")
        first = "SET lock_timeout = '200ms'" if server.kind == "postgresql" else "SET innodb_lock_wait_timeout = 1"
        recorded = ask(server, f"{first}; UPDATE t SET name = 'x' WHERE id = 1", multi=True)
        cursor.execute("ROLLBACK")
    assert recorded["exitCode"] == 1
    assert "a lock is held by others" in recorded["error"]


def test_parameters_accept_what_templates_make():
    params = parse(QueryParameters, {"query": "SELECT 1", "maxRows": "7", "readOnly": "true", "timeout": "9"})
    assert (params.max_rows, params.read_only, params.seconds(30)) == (7, True, 9)
    with pytest.raises(InvalidParameter):
        parse(QueryParameters, {"query": "SELECT 1", "readOnly": "yes please"})
