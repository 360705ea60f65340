"""The canary case of `database`: the password comes back as a value, in an error of the server, and as a name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.canaries.case import Case, Job, Secret
from tests.support.database_servers import PostgresServer, running


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """A real PostgreSQL, which has the password in a table and in a function that fails with it."""
    password = secret("database password")
    quoted = password.replace("'", "''")
    with running(PostgresServer) as server:
        server.query(f"ALTER USER reader PASSWORD '{quoted}'", database="postgres")
        server.query("CREATE TABLE held (value text)")
        server.query("INSERT INTO held VALUES (%s)", password)
        server.query(
            "CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS"
            " $$ DECLARE said text; BEGIN SELECT value INTO said FROM held; RAISE EXCEPTION '%', said; END $$"
        )
        server.query("GRANT SELECT ON held TO reader")
        credential = server.credential(username="reader", password=password)
        wrong = {**credential, "password": secret("wrong database password")}
        refused = server.credential(host="127.0.0.1", username="nobody-there", password=password)

        def job(query: str, **more: object) -> Job:
            return Job("database.executeQuery", {"query": query}, credential, **more)

        yield Case(
            jobs=(
                job(
                    "SELECT value, encode(convert_to(value, 'UTF8'), 'base64'), encode(convert_to(value, 'UTF8'), 'hex'), to_json(value) FROM held"
                ),
                job("SELECT fail()", ends="error"),
                job("SELECT value::int FROM held", ends="error"),
                job("SELECT 1", redacts=False),
                Job("database.testConnection", {}, credential, redacts=False),
                Job("database.testConnection", {}, wrong, ends="error", redacts=False),
                Job("database.executeQuery", {"query": "SELECT 1"}, refused, ends="error", redacts=False),
            ),
            hanging=Job("database.executeQuery", {"query": "SELECT value, pg_sleep(60) FROM held"}, credential),
            holds=_Seen(server).count,
        )


class _Seen:
    """How many different sessions have been seen at the hanging query."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._pids: set[object] = set()

    def count(self) -> int:
        rows = self._server.query(
            "SELECT pid, query_start FROM pg_stat_activity WHERE query LIKE 'SELECT value, pg_sleep%'"
        )
        self._pids.update(rows)
        return len(self._pids)
