"""Oracle through oracledb in its thin mode (extra `oracle`): no Oracle client is needed. `dbname` is the service.

oracledb dials by itself, so it is given the judged address; its TLS context still names the server by its name.
Oracle's read-only transactions end with any DDL and any COMMIT of a block: readOnly is refused.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, ClassVar

import oracledb

from workers.sdk.database_connection import tls_context
from workers.sdk.database_session import APPLICATION, Problem, Query, Session, taken
from workers.sdk.database_sql import ORACLE, bind, first_word

_LOGIN = frozenset({1017, 1005, 28000, 28001, 12514, 12505})
_BLOCKS = frozenset({"BEGIN", "DECLARE", "CREATE"})


class OracleSession(Session):
    """See the module's docstring."""

    dialect: ClassVar = "oracle+oracledb"
    grammar: ClassVar = ORACLE
    probe: ClassVar = "SELECT 1 FROM DUAL"

    def _connected(self) -> Any:
        arguments = self.arguments()
        made = oracledb.connect(**arguments)
        made.call_timeout = int(self.plan.statement_s * 1000)
        context = arguments.get("ssl_context")
        if context is not None:
            self.tls = {
                "version": context.version,
                "verified": self.plan.mode.startswith("verify"),
                "seconds": context.took_s,
            }
        return made

    def arguments(self) -> dict[str, Any]:
        """Of `oracledb.connect`."""
        connection, mode = self.plan.connection, self.plan.mode
        made: dict[str, Any] = {
            "host": self.plan.address,
            "port": connection.real_port,
            "user": connection.user,
            "password": connection.password,
            "service_name": connection.database or None,
            "protocol": "tcp",
            "tcp_connect_timeout": self.plan.connect_s,
            "retry_count": 0,
            "program": APPLICATION,
        }
        if mode != "disable":
            # the context itself checks the name: oracledb would look for the address in the certificate
            context = tls_context(connection, self.plan.files, mode)
            made |= {"protocol": "tcps", "ssl_context": context, "ssl_server_dn_match": False}
        return made

    def run(self, query: Query) -> None:
        """As the base class says."""
        text = query.text
        if first_word(text, ORACLE) not in _BLOCKS:
            text = text.rstrip(";")  # Oracle takes it for an error
        text, values = bind(text, query.parameters, self.grammar)
        cursor = self.driver.cursor()
        query.sent = text
        cursor.execute(text, values or [])
        if cursor.description is not None:
            taken(cursor, query)
        else:
            query.affected = cursor.rowcount if cursor.rowcount >= 0 else None

    def cancel(self) -> None:
        """A break, which oracledb may be asked for from any thread."""
        if self.driver is not None:
            self.driver.cancel()

    def abort(self) -> None:
        """The call's own limit is what is left."""

    def explained(self, error: Exception) -> Problem | None:
        """By its ORA- or DPY- number."""
        if not isinstance(error, oracledb.Error):
            return None
        inner = error.args[0] if error.args else None
        said = str(getattr(inner, "message", error)).splitlines()[0]
        number = getattr(inner, "code", 0) or 0
        detail = {"errno": number, "code": getattr(inner, "full_code", None)}
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            return Problem("tls", said, detail)
        if number == 1013:
            return Problem("ended", "the statement was cancelled", detail)
        if self.driver is None or number in _LOGIN:
            return Problem("login", said, detail)
        return Problem("lost" if self.is_lost(error) else "refused", said, detail)

    def close(self) -> None:
        """As the base class does."""
        with contextlib.suppress(oracledb.Error):
            super().close()
