"""MySQL and MariaDB through PyMySQL, over a socket that is dialled elsewhere."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from typing import Any, ClassVar, Final

import pymysql
from pymysql.constants import CLIENT, SERVER_STATUS
from pymysql.cursors import SSCursor

from easyalert.errors import PolicyRefused
from workers.sdk.database_connection import tls_context
from workers.sdk.database_session import (
    APPLICATION,
    CANCEL_TIMEOUT_S,
    Plan,
    Problem,
    ProblemKind,
    Query,
    Session,
    taken,
)
from workers.sdk.database_sql import MYSQL, MYSQL_NO_BACKSLASH, Dialect, bind, first_word, seems_several

_READING: Final = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "SHOW", "EXPLAIN", "DESCRIBE", "DESC"})
"""Statements that cannot leave the transaction they run in. CALL and MariaDB's compound statements can."""
_CLEAR: Final = frozenset({b"mysql_clear_password", b"dialog"})
_NEAR: Final = re.compile(r"near '.*' at line", re.DOTALL)

_KINDS: Final[dict[int, ProblemKind]] = {
    1044: "login", 1045: "login", 1049: "login", 1130: "login", 1040: "login", 1203: "login", 1698: "login",
    1317: "ended", 1969: "ended", 3024: "ended", 1927: "lost",
}  # fmt: skip
_SENTENCES: Final = {
    1045: "the user or the password was refused",
    1040: "the server has no connection left",
    1203: "the server has no connection left for this user",
    1205: "a lock is held by others, the server gave up waiting",
    1213: "deadlock: the server ended this statement, nothing of it remains; run it again",
    1792: "the query is read-only and the server refused to write",
}


class _Connection(pymysql.connections.Connection):
    """Sends the password itself to nobody who is not known for sure to be the server."""

    verified = False

    def wait_for_ever(self) -> None:
        """The limit was for the log-in. Who waits for a statement is woken by `Session.abort`."""
        self._read_timeout = self._current_timeout = None
        self._sock.settimeout(None)

    def _process_auth(self, plugin_name: Any, auth_packet: Any, handler: Any = None) -> Any:
        if plugin_name in _CLEAR and not self.verified:
            raise pymysql.err.OperationalError(
                2061,
                "the server asks for the password in clear text and its certificate is not verified, so it is not "
                "sent; set sslMode to verify-full, with its authority in caCertificate",
            )
        return super()._process_auth(plugin_name, auth_packet, handler)


class _Cursor(SSCursor):
    """Unbuffered. PyMySQL takes the server's time-out for a result's end; here it is the error that it is."""

    def close(self) -> None:
        """Without reading what is left: whoever wants to know how it ended has read it."""
        result: Any = self._result
        if result is not None:
            result.unbuffered_active = False
            result.connection = None
        self.connection = None

    def dropped(self) -> int:
        """Read what is left of the rows without looking at them; how many there were."""
        result: Any = self._result
        number = 0
        while result.unbuffered_active:
            packet = result.connection._read_packet()  # noqa: SLF001 - see above
            if result._check_packet_is_eof(packet):  # noqa: SLF001 - see above
                result.unbuffered_active = False
                result.connection = None
            else:
                number += 1
        return number


class MysqlSession(Session):
    """See the module's docstring. It takes the plan's socket."""

    dialect: ClassVar = "mysql+pymysql"
    grammar: ClassVar = MYSQL
    takes_socket: ClassVar = True
    enforces_read_only: ClassVar = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._handles: list[socket.socket] = []
        self._several = False

    def _connected(self) -> _Connection:
        sock = self.plan.sock or self._dialled()
        try:
            made = self._logged_in(sock)
        except BaseException:
            sock.close()
            raise
        try:
            self._set_limit(made)
        except BaseException:
            self.abort()
            made.close()
            raise
        return made

    def _set_limit(self, made: _Connection) -> None:
        limit = self.plan.statement_s
        backstop = (
            f"SET SESSION max_statement_time = {limit:.3f}"
            if "MariaDB" in str(made.get_server_info())
            else f"SET SESSION max_execution_time = {int(limit * 1000)}"
        )
        with contextlib.suppress(pymysql.err.MySQLError), made.cursor() as cursor:
            cursor.execute(backstop)  # versions that are too old for it have none

    def _dialled(self) -> socket.socket:
        return socket.create_connection((self.plan.address, self.plan.connection.real_port), CANCEL_TIMEOUT_S)

    def _logged_in(self, sock: socket.socket) -> _Connection:
        # a second handle, because TLS takes the first one away
        self._handles.append(sock.dup())
        connection, mode = self.plan.connection, self.plan.mode
        context = None if mode == "disable" else tls_context(connection, self.plan.files, mode)
        made = _Connection(
            host=connection.host,
            port=connection.real_port,
            user=connection.user,
            password=connection.password.encode(),  # as text it would be sent in Latin-1
            database=connection.database or None,
            charset="utf8mb4",
            ssl=context,
            ssl_disabled=context is None,
            client_flag=CLIENT.MULTI_STATEMENTS if self.plan.multi else 0,
            cursorclass=_Cursor,
            local_infile=False,
            program_name=APPLICATION,
            autocommit=None,
            read_timeout=self.plan.connect_s,
            defer_connect=True,
        )
        made.verified = mode.startswith("verify")
        try:
            made.connect(sock)
        finally:
            if context is not None and context.version:
                self.tls = {"version": context.version, "verified": made.verified, "seconds": context.took_s}
        made.wait_for_ever()
        return made

    def run(self, query: Query) -> None:
        """As the base class says: the rest of the rows, and further results, are read before it is over."""
        grammar = self._grammar()
        if self.plan.read_only:
            self._begin_read_only(query, grammar)
        self._several = not self.plan.multi and seems_several(query.text, grammar)
        text, values = bind(query.text, query.parameters, grammar)
        cursor: _Cursor = self.driver.cursor()
        with contextlib.closing(cursor):
            query.sent = text
            cursor.execute(text, values)
            self._read(cursor, query)

    def _read(self, cursor: _Cursor, query: Query) -> None:
        while True:
            if cursor.description is not None:
                taken(cursor, query, until_full=True)
                if not query.rows.complete:
                    if self.plan.read_only:  # nothing was written: the rest need not come
                        self.stopping.set()
                        self.abort()
                        return
                    query.rows.count(cursor.dropped())
                    query.rows.complete = True
            else:
                query.affected = cursor.rowcount if cursor.rowcount >= 0 else None
            if not cursor.nextset():
                return

    def _grammar(self) -> Dialect:
        plain = self.driver.server_status & SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES
        return MYSQL_NO_BACKSLASH if plain else MYSQL

    def _begin_read_only(self, query: Query, grammar: Dialect) -> None:
        if first_word(query.text, grammar) not in _READING:
            raise PolicyRefused(
                "the query is read-only, and of a statement that does not begin with "
                f"{', '.join(sorted(_READING))} the server cannot promise that it writes nothing"
            )
        with self.driver.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("START TRANSACTION READ ONLY")

    def cancel(self) -> None:
        """`KILL QUERY` on a connection of its own."""
        if self.driver is None:
            return
        killer = self._logged_in(self._dialled())
        try:
            with killer.cursor() as cursor:
                cursor.execute(f"KILL QUERY {int(self.driver.thread_id())}")
        finally:
            killer.close()

    def abort(self) -> None:
        """Shut all its connections, one that logs in too."""
        for handle in list(self._handles):
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As the base class does; without waiting for rows that nobody wants."""
        if self.stopping.is_set():
            self.abort()
        super().close()
        for handle in self._handles:
            handle.close()

    def explained(self, error: Exception) -> Problem | None:
        """By its number. The text that MySQL quotes from a statement is taken out."""
        if not isinstance(error, pymysql.err.Error):
            return None
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = _NEAR.sub("at line", str(error.args[1] if len(error.args) > 1 else error.args[0] if error.args else ""))
        original = getattr(error, "original_exception", None)
        if isinstance(original, ssl.SSLError):
            return tls_problem(original)
        if number == 2026:
            return Problem("tls", "the server offers no TLS; sslMode 'disable' would do without")
        if self.driver is None and number in {2003, 2006, 2013}:
            return Problem("login", "the server did not answer the log-in, or broke it off", {"errno": number})
        if number in {2003, 2006, 2013} or self.is_lost(error):
            return Problem("lost", "the connection was lost", {"errno": number})
        kind = _KINDS.get(number, "login" if self.driver is None else "refused")
        detail: dict[str, Any] = {"errno": number, "message": said}
        if number == 1064:
            line = re.search(r"at line (\d+)", said)
            said = f"syntax error at line {line[1]}" if line else "syntax error"
            detail = {"errno": number, **({"line": int(line[1])} if line else {})}
            if self._several:
                said += "; the query seems to hold several statements: one is run, unless the job says multi: true"
        return Problem(kind, _SENTENCES.get(number, said), detail)


def tls_problem(error: ssl.SSLError) -> Problem:
    """Why a handshake failed, in the library's words without its decoration."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = error.verify_message
        return Problem("tls", f"the server's certificate was refused: {said}", certificate=said)
    return Problem("tls", f"TLS failed: {(error.reason or type(error).__name__).replace('_', ' ').lower()}")
