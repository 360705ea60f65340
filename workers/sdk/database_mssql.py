"""SQL Server through pymssql (extra `mssql`).

FreeTDS dials by itself, so it is given the judged address. It cannot verify certificates per connection: verify-ca and
verify-full are refused instead of being something less. SQL Server has no read-only transactions: readOnly is refused.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pymssql

from easyalert.errors import CredentialError
from workers.sdk.database_session import APPLICATION, Problem, Query, Session, taken
from workers.sdk.database_sql import MSSQL, bind


class MssqlSession(Session):
    """See the module's docstring."""

    dialect: ClassVar = "mssql+pymssql"
    grammar: ClassVar = MSSQL

    def _connected(self) -> Any:
        made = pymssql.connect(**self.arguments())
        self.tls = {"version": None if self.plan.mode == "disable" else "TLS", "verified": False, "seconds": 0.0}
        return made

    def arguments(self) -> dict[str, Any]:
        """Of `pymssql.connect`. Raises CredentialError for a mode that it has not."""
        connection, mode = self.plan.connection, self.plan.mode
        if mode.startswith("verify"):
            raise CredentialError(
                f"sslMode {mode} is not possible with SQL Server: its driver cannot verify certificates; "
                "'require' encrypts without verifying"
            )
        return {
            "server": self.plan.address,
            "port": str(connection.real_port),
            "user": connection.user,
            "password": connection.password,
            "database": connection.database,
            "login_timeout": max(1, int(self.plan.connect_s)),
            "timeout": max(1, int(self.plan.statement_s)),
            "encryption": "off" if mode == "disable" else "require",
            "appname": APPLICATION,
            "charset": "UTF-8",
            "autocommit": True,
        }

    def run(self, query: Query) -> None:
        """As the base class says."""
        text, values = bind(query.text, query.parameters, self.grammar)
        cursor = self.driver.cursor()
        query.sent = text
        cursor.execute(text, tuple(values) if values is not None else None)
        while True:
            if cursor.description is not None:
                taken(cursor, query)
            else:
                query.affected = cursor.rowcount if cursor.rowcount >= 0 else None
            if not cursor.nextset():
                return

    def cancel(self) -> None:
        """DB-Library is not to be touched by a second thread: the time limit it was given ends the statement."""
        raise OSError("SQL Server's driver takes no request to cancel")

    def abort(self) -> None:
        """Nothing that could be done safely."""

    def explained(self, error: Exception) -> Problem | None:
        """The last message of the server; FreeTDS repeats itself."""
        if not isinstance(error, pymssql.Error):
            return None
        number, said = (*error.args, b"", b"")[:2]
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        lines = [line for line in text.splitlines() if line and not line.startswith(("DB-Lib", "Net-Lib"))]
        sentence = lines[0] if lines else "no reason given"
        with contextlib.suppress(TypeError, ValueError):
            number = int(number)
        if number == 20003:
            return Problem("ended", "the time limit was reached", {"errno": number})
        lost = self.driver is not None and self.is_lost(error)
        kind = "login" if self.driver is None else "lost" if lost else "refused"
        return Problem(kind, sentence, {"errno": number})  # type: ignore[arg-type]
