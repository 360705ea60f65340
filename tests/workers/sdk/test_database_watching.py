"""Queries that are stopped, and connections that break: nothing is left running on the server unnoticed."""

import asyncio
import contextlib
import os
import signal
import threading

import pytest

from tests.support.database_servers import MariadbServer, PostgresServer, running
from tests.support.waiting import eventually
from workers.sdk.database_session import session_class
from workers.sdk.database_watching import _PATIENCE_S

pytestmark = pytest.mark.system

SLEEPS = {"postgresql": "SELECT 'stop-me', pg_sleep(120)", "mysql": "SELECT 'stop-me', sleep(120)"}


def gone(server):
    eventually(lambda: server.running("stop-me") == 0, what="the statement's end on the server")


def test_a_time_out_ends_the_statement_on_the_server(server, ask):
    recorded = ask(server, SLEEPS[server.kind], timeout=1)
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert recorded["error"] == "timed out after 1 seconds: the server ended the statement"
    gone(server)


def test_the_jobs_own_limit_ends_it_too(server, ask):
    recorded = ask(server, SLEEPS[server.kind], timeout_s=2)
    assert recorded["exitCode"] == -1
    assert recorded["error"].startswith("timed out after 2 seconds: ")
    gone(server)


def test_a_cancelled_job_ends_the_statement_on_the_server(server, ask):
    recorded = ask(server, SLEEPS[server.kind], cancelled=lambda: server.running("stop-me") > 0)
    assert recorded["exitCode"] == -1
    assert recorded["error"].startswith("cancelled: ")
    gone(server)


def test_a_cancelled_change_leaves_nothing(server, ask):
    server.query("DROP TABLE IF EXISTS undone")
    server.query("CREATE TABLE undone (id int)")
    sleep = "pg_sleep(120) IS NULL" if server.kind == "postgresql" else "sleep(120)"
    query = f"INSERT INTO undone SELECT 1 FROM (SELECT 'stop-me') AS s WHERE {sleep}"
    recorded = ask(server, query, cancelled=lambda: server.running("stop-me") > 0)
    assert recorded["error"].startswith("cancelled: ")
    gone(server)
    assert server.query("SELECT count(*) FROM undone") == [(0,)]


def test_rows_that_came_before_the_end_are_kept(server, ask):
    """Enough of them that the server has sent some before it sleeps."""
    wait = "CASE WHEN i < 900 THEN 0 ELSE {} END".format(
        "length(pg_sleep(120)::text)" if server.kind == "postgresql" else "sleep(120)"
    )
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)"
    recorded = ask(server, f"{numbers} SELECT i, repeat('x', 900), {wait}, 'stop-me' FROM n", timeout=2)
    assert recorded["exitCode"] == -1
    output = recorded["output"]
    assert output["truncated"] is True
    assert output["rows"][0][0] == 1
    assert output["columns"][0] == "i"
    gone(server)


def test_when_the_server_cannot_be_asked_the_error_says_that_it_may_run_on(server, ask, monkeypatch):
    """And the connection is cut; the server's own limit, or its next look at the connection, ends the statement."""

    def no(_):
        raise OSError("no way")

    monkeypatch.setattr(session_class(server.kind), "cancel", no)
    monkeypatch.setattr("workers.executors.database._BACKSTOP_S", 2.0)
    monkeypatch.setitem(_PATIENCE_S, "timed_out", 0.1)
    recorded = ask(server, SLEEPS[server.kind], timeout=1)
    assert recorded["exitCode"] == -1
    assert "may run on, up to 3 seconds" in recorded["error"]
    eventually(lambda: server.running("stop-me") == 0, within=60, what="the server's own limit")


def test_a_query_that_is_over_in_time_is_a_success(server, good):
    assert good(server, "SELECT 1", timeout=20)["rows"] == [[1]]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_session_that_an_administrator_ends(server, ask, read_only):
    kill = {
        "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%stop-me%'"
        " AND pid <> pg_backend_pid()",
        "mysql": "SELECT id FROM information_schema.processlist WHERE info LIKE '%stop-me%' AND id <> connection_id()",
    }[server.kind]

    def end():
        eventually(lambda: server.running("stop-me"), what="the statement running")
        for row in server.query(kill):
            if server.kind == "mysql":
                server.query(f"KILL {row[0]}")

    ending = threading.Thread(target=end)
    ending.start()
    recorded = ask(server, SLEEPS[server.kind], readOnly=read_only)
    ending.join()
    assert recorded["exitCode"] == 1
    known = "it was read-only" if read_only else "whether it took effect is not known"
    assert recorded["error"].endswith(f"while the statement ran; {known}")


@pytest.mark.parametrize("kind", [PostgresServer, MariadbServer])
def test_a_server_that_dies_in_the_middle(ask, kind):
    with running(kind) as server:

        def kill():
            eventually(lambda: server.running("stop-me"), what="the statement running")
            if kind is PostgresServer:  # a killed backend ends them all; a killed parent would leave them
                pid = server.query(
                    "SELECT pid FROM pg_stat_activity WHERE query LIKE '%stop-me%' AND pid <> pg_backend_pid()"
                )[0][0]
                os.kill(pid, signal.SIGKILL)
            else:
                server.process.kill()

        killing = threading.Thread(target=kill)
        killing.start()
        recorded = ask(server, SLEEPS[server.kind])
        killing.join()
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert "the connection was lost while the statement ran; whether it took effect is not known" in recorded["error"]


class Silent:
    """Takes connections and says `greeting`, then nothing."""

    def __init__(self, greeting=b""):
        self.greeting = greeting
        self.port = 0
        self.taken = 0
        self._loop = None

    async def _serve(self, started):
        async def take(reader, writer):
            self.taken += 1
            writer.write(self.greeting)
            try:
                await reader.read(-1)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        server = await asyncio.start_server(take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        started.set()
        async with server:
            await self._stop.wait()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    @contextlib.contextmanager
    def running(self):
        started = threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)))
        thread.start()
        started.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize("action", ["executeQuery", "testConnection"])
def test_a_server_that_says_nothing(ask, kind, action):
    with Silent().running() as silent:
        entry = {"databaseType": kind, "host": "127.0.0.1", "port": silent.port, "password": "x-password"}
        recorded = ask(None, "SELECT 1", action=action, entry=entry, timeout=2)
    assert recorded["status"] == "error"
    assert any(words in recorded["error"] for words in ("not answer", "timed out", "not sent", "timeout", "TLS with"))


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_job_cancelled_while_it_logs_in(ask, kind):
    with Silent().running() as silent:
        entry = {"databaseType": kind, "host": "127.0.0.1", "port": silent.port, "password": "x-password"}
        recorded = ask(None, "SELECT 1", entry=entry, cancelled=lambda: silent.taken > 0)
    assert recorded["exitCode"] == -1
    assert recorded["error"].startswith("cancelled")
    assert "not sent" in recorded["error"] or "no connection yet" in recorded["error"]


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_server_of_another_protocol(ask, kind):
    with Silent(b"HTTP/1.1 400 Bad Request\r\n\r\n").running() as silent:
        entry = {"databaseType": kind, "host": "127.0.0.1", "port": silent.port, "password": "x-password"}
        for action in ("executeQuery", "testConnection"):
            recorded = ask(None, "SELECT 1", action=action, entry=entry, timeout=5)
            assert recorded["status"] == "error"
            assert len(recorded["error"]) < 300
            assert "Traceback" not in recorded["error"]
            assert "unexpected" not in recorded["error"], recorded


def test_no_session_stays_open(server, ask):
    """Whatever happened to the jobs before, the server knows of no connection of theirs."""
    ask(server, "SELECT 1")
    ask(server, "SELECT nonsense FROM nowhere")
    ask(server, SLEEPS[server.kind], timeout=1)
    ask(server, action="testConnection")
    count = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'easyalert-agent'",
        "mysql": "SELECT count(*) - 1 FROM information_schema.processlist WHERE command <> 'Daemon'",
    }[server.kind]
    eventually(lambda: server.query(count) == [(0,)], what="no connection of the agent")
