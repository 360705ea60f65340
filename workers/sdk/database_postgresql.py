"""PostgreSQL through psycopg 3. Results are read in small pieces, without a cursor on the server.

A cursor on the server would need to know beforehand that the statement gives rows and writes nothing. Chunked rows
of libpq need neither: any statement, its rows as they come, its errors up to the last.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

import psycopg
from psycopg import adapt, pq
from psycopg.errors import error_from_result
from psycopg.types.multirange import MultirangeInfo
from psycopg.types.range import RangeInfo

from easyalert.errors import InvalidParameter
from workers.sdk.database_session import APPLICATION, CANCEL_TIMEOUT_S, Problem, ProblemKind, Query, Session
from workers.sdk.database_sql import POSTGRESQL, bind

_CHUNK_ROWS: Final = 20
"""Few: a row may be large."""
_DATA: Final = frozenset({pq.ExecStatus.SINGLE_TUPLE, pq.ExecStatus.TUPLES_CHUNK, pq.ExecStatus.TUPLES_OK})
_COPIES: Final = frozenset({pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH})

_KINDS: Final[dict[str, ProblemKind]] = {"28": "login", "57014": "ended", "57P": "lost", "08": "lost"}
_SENTENCES: Final = {
    "28P01": "the password was refused",
    "28000": "the login was refused",
    "3D000": "there is no such database",
    "42601": "syntax error",
    "42501": "permission denied",
    "25006": "the query is read-only and the server refused to write",
    "40P01": "deadlock: the server ended this statement, nothing of it remains; run it again",
    "40001": "the server could not serialize this statement with others, nothing of it remains; run it again",
    "53300": "the server has no connection left for this user",
    "55P03": "a lock is held by others",
}


class _Text(adapt.Loader):
    """Text of whatever encoding: what is no UTF-8 is replaced, so that one byte does not cost the result."""

    def load(self, data: Any) -> str:
        return bytes(data).decode("utf-8", "replace")


class PostgresqlSession(Session):
    """See the module's docstring."""

    dialect: ClassVar = "postgresql+psycopg"
    grammar: ClassVar = POSTGRESQL
    enforces_read_only: ClassVar = True

    def _connected(self) -> psycopg.Connection[Any]:
        limit = int(self.plan.statement_s * 1000)
        backstop = f"-c statement_timeout={limit} -c DateStyle=ISO -c IntervalStyle=postgres"
        try:
            made = psycopg.connect(**self._arguments(), options=backstop)
        except psycopg.OperationalError as error:
            # poolers know no such options; behind them there is no backstop
            if "startup parameter" not in str(error):
                raise
            made = psycopg.connect(**self._arguments())
        made.prepare_threshold = None
        if made.info.parameter_status("server_encoding") == "SQL_ASCII":
            # such a database checks nothing, and would refuse to call its bytes UTF-8
            made.execute("SET client_encoding TO 'SQL_ASCII'")
        if self.plan.mode != "disable" and made.pgconn.ssl_in_use:
            self.tls["version"] = "TLS"
            self.tls["verified"] = self.plan.mode.startswith("verify")
        _load_as_text(made)
        return made

    def _arguments(self) -> dict[str, Any]:
        connection, files, mode = self.plan.connection, self.plan.files, self.plan.mode
        nowhere = str(Path(os.devnull) / "none")  # else libpq looks into the account's home
        return {
            "host": connection.host,
            "hostaddr": self.plan.address,
            "port": connection.real_port,
            "user": connection.user,
            "password": connection.password,
            "dbname": connection.database,
            "connect_timeout": max(2, int(self.plan.connect_s)),
            "application_name": APPLICATION,
            "client_encoding": "UTF8",
            "sslmode": mode,
            "sslrootcert": str(files.roots or nowhere),
            "sslcert": str(files.certificate or nowhere),
            "sslkey": str(files.key or nowhere),
            "sslcertmode": "allow" if files.certificate else "disable",
            "passfile": nowhere,
            "gssencmode": "disable",
            # whoever answers without proof must not be told the password itself; scram and md5 do not
            **({"require_auth": "!password"} if mode == "require" else {}),
            "autocommit": True,
        }

    def run(self, query: Query) -> None:
        """As the base class says. Rows past the limit are read and dropped, unless nothing can have been written."""
        if self.plan.read_only:
            self.driver.execute("BEGIN READ ONLY")
            # after its first query a transaction cannot be made a writing one any more, by whatever statement
            self.driver.execute("SELECT 1")
        self._send(query)
        for result in self._results():
            self._take(query, result)
            if self.plan.read_only and query.rows.overflowed and not query.rows.complete:
                self.stopping.set()
                self.cancel()
                with contextlib.suppress(psycopg.Error):
                    list(self._results())
                return

    def _send(self, query: Query) -> None:
        pgconn: pq.abc.PGconn = self.driver.pgconn
        text, values = bind(query.text, query.parameters, self.grammar)
        query.sent = text
        if self.plan.multi:
            pgconn.send_query(text.encode())
        else:
            # the extended protocol takes one statement only
            transformer = adapt.Transformer(self.driver)
            dumped = transformer.dump_sequence(values or [], [adapt.PyFormat.TEXT] * len(values or []))
            pgconn.send_query_params(text.encode(), dumped, transformer.types, transformer.formats)
        pgconn.set_chunked_rows_mode(_CHUNK_ROWS)
        while pgconn.flush():
            self._wait(select.POLLIN | select.POLLOUT)
            pgconn.consume_input()

    def _wait(self, events: int) -> None:
        # libpq's own waiting would keep the whole process waiting: psycopg calls it without letting other threads run
        poll = select.poll()
        poll.register(self.driver.pgconn.socket, events)
        poll.poll()

    def _next(self) -> pq.abc.PGresult | None:
        pgconn: pq.abc.PGconn = self.driver.pgconn
        while pgconn.is_busy():
            self._wait(select.POLLIN)
            pgconn.consume_input()
        return pgconn.get_result()

    def _results(self) -> Iterator[pq.abc.PGresult]:
        while (result := self._next()) is not None:
            if result.status in _COPIES:
                self.abort()
                raise InvalidParameter("query", "is a COPY from or to the client, which has no data here")
            if result.status not in _DATA and result.status not in {
                pq.ExecStatus.COMMAND_OK,
                pq.ExecStatus.EMPTY_QUERY,
            }:
                raise error_from_result(result)
            yield result

    def _take(self, query: Query, result: pq.abc.PGresult) -> None:
        rows = query.rows
        if result.status in _DATA:
            if rows.columns is None or rows.complete:
                names = [result.fname(index) or b"" for index in range(result.nfields)]
                rows.begin([name.decode("utf-8", "replace") for name in names])
            rows.count(result.ntuples)
            if result.ntuples and not rows.full:
                transformer = adapt.Transformer(self.driver)
                transformer.set_pgresult(result)
                for row in transformer.load_rows(0, result.ntuples, tuple):
                    rows.add(row)
        if result.status == pq.ExecStatus.TUPLES_OK:
            rows.complete = True
        # on the last piece of the rows, or on the result after it
        status = (result.command_status or b"").decode()
        if status:
            query.command = status
            read = status.startswith(("SELECT", "FETCH", "SHOW"))
            query.affected = None if read else result.command_tuples

    def cancel(self) -> None:
        """A cancel request on a connection of its own, with the same TLS."""
        if self.driver is not None:
            self.driver.cancel_safe(timeout=CANCEL_TIMEOUT_S)

    def abort(self) -> None:
        """Shut the socket under libpq. A log-in that is under way ends by its own limit."""
        if self.driver is None or self.driver.closed:
            return
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.driver.pgconn.socket)) as own,
        ):
            own.shutdown(socket.SHUT_RDWR)

    def explained(self, error: Exception) -> Problem | None:
        """By its SQLSTATE. What stands in the row (`DETAIL`) is not repeated."""
        if not isinstance(error, psycopg.Error):
            return None
        state = error.sqlstate or ""
        if not state:
            return self._without_state(error)
        said = error.diag.message_primary or ""
        kind: ProblemKind = next((kind for start, kind in _KINDS.items() if state.startswith(start)), "refused")
        sentence = _SENTENCES.get(state, said)
        detail: dict[str, Any] = {"sqlState": state}
        if state == "42601" and "multiple commands" in said:
            sentence = "the query holds several statements; one is run, unless the job says multi: true"
        elif state != "42601":  # there it quotes the text
            detail["message"] = said
            if sentence != said:
                sentence = f"{sentence} ({said})"
        if error.diag.statement_position:
            detail["position"] = int(error.diag.statement_position)
        if error.diag.message_hint and state != "42601":
            detail["hint"] = error.diag.message_hint
        return Problem(kind, sentence, detail)

    def _without_state(self, error: psycopg.Error) -> Problem:
        text = str(error)
        if self.driver is None:
            kind: ProblemKind = "tls" if "certificate" in text or "SSL" in text else "login"
            return Problem(kind, _login_sentence(text))
        if isinstance(error, psycopg.OperationalError) or self.is_lost(error):
            return Problem("lost", "the connection was lost")
        return Problem("refused", _last_line(text))


def _login_sentence(text: str) -> str:
    """A failed log-in has no fields, only the server's line."""
    if "does not support SSL" in text:
        return "the server offers no TLS; sslMode 'disable' would do without"
    if "cleartext password" in text:
        return (
            "the server asks for the password in clear text and its certificate is not verified, so it is not sent; "
            "set sslMode to verify-full, with its authority in caCertificate"
        )
    return _last_line(text)


def _last_line(text: str) -> str:
    line = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    for mark in ("FATAL:", "ERROR:", "failed:"):
        line = line.rpartition(mark)[2].strip() or line
    return line


def _load_as_text(made: psycopg.Connection[Any]) -> None:
    """Types whose text says more than Python's type can hold: infinite dates, months of intervals, bounds of ranges."""
    names = ["date", "timestamp", "timestamptz", "interval", "text", "varchar", "bpchar", "name"]
    for name in names:
        made.adapters.register_loader(name, _Stamp if name.startswith(("date", "timestamp")) else _Text)
    made.adapters.register_loader(0, _Text)
    for info in made.adapters.types:
        if isinstance(info, RangeInfo | MultirangeInfo):
            made.adapters.register_loader(info.oid, _Text)


class _Stamp(_Text):
    """A date or time stamp as ISO 8601; what the calendar has no form for (infinity, BC) as the server writes it."""

    def load(self, data: Any) -> str:
        text = super().load(data)
        if " " not in text or text.endswith("BC"):
            return text
        day, _, time = text.partition(" ")
        sign = max(time.rfind("+"), time.rfind("-"))
        zone = time[sign:] if sign > 0 else ""
        clock = time[:sign] if sign > 0 else time
        whole, dot, fraction = clock.partition(".")
        fraction = f".{fraction:0<6}" if dot else ""
        return f"{day}T{whole}{fraction}{zone if ':' in zone or not zone else zone + ':00'}"
