"""The steps of `database.testConnection` after name and TCP: TLS, log-in, a harmless query.

TLS is tried with verification first, also where the connection does not ask for it: so the step can say whether anybody
has proved to be the server.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import Final

from easyalert.errors import TargetError
from workers.sdk.database_connection import TlsMode, tls_context
from workers.sdk.database_session import DatabaseFault, Plan, Query, Session, session_class
from workers.sdk.database_values import Rows
from workers.sdk.steps import StepName, Steps

_UNVERIFIED: Final = (
    "encrypted, but the certificate was not verified ({reason}); "
    "to be sure who answers, put its authority into the connection's caCertificate"
)
_TLS_REQUEST: Final = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
"""PostgreSQL's SSLRequest: its length and its number."""


class ConnectionTest:
    """`run` blocks; `cancel` and `abort` are for other threads."""

    def __init__(self, plan: Plan, steps: Steps) -> None:
        self.stopping = threading.Event()
        self._plan = plan
        self._steps = steps
        self._session: Session | None = None
        connection = plan.connection
        self._lenient = connection.tls == "require"
        self._driver_tells = connection.tls != "disable" and connection.database_type in {"mysql", "oracle"}

    def cancel(self) -> None:
        """There is no statement that would take long."""

    def abort(self) -> None:
        """Cut what is open."""
        if self._plan.sock is not None:
            with contextlib.suppress(OSError):
                self._plan.sock.shutdown(socket.SHUT_RDWR)
        if self._session is not None:
            self._session.abort()

    def run(self) -> None:
        """Raises TargetError: the step that failed is in the report."""
        connection = self._plan.connection
        if connection.database_type == "postgresql" and connection.tls != "disable":
            self._postgresql_tls()
        try:
            reason = self._logged_in()
            if reason is not None:
                self._logged_in(reason)
            session = self._session
            if session is None:  # never: it has logged in
                return
            with self._steps.step("permission", session.probe), session.translated():
                session.run(Query(session.probe, None, Rows(1)))
        finally:
            if self._session is not None:
                self._session.close()

    def _postgresql_tls(self) -> None:
        """On a connection of its own: libpq does not say how long its handshake takes, nor who was verified."""
        plan, connection = self._plan, self._plan.connection
        if plan.sock is None:  # never: it was dialled
            return
        context = tls_context(connection, plan.files, "verify-full" if self._lenient else connection.tls)
        with plan.sock as made, self._steps.step("tls", connection.host) as step:
            try:
                made.sendall(_TLS_REQUEST)
                if made.recv(1) != b"S":
                    raise TargetError(f"{connection.server} offers no TLS; sslMode 'disable' would do without")
                with context.wrap_socket(made):
                    step["detail"] = f"{context.version}, certificate verified"
            except ssl.SSLCertVerificationError as error:
                if not self._lenient:
                    said = f"the certificate of {connection.server} was refused: {error.verify_message}"
                    raise TargetError(said) from None
                step["detail"] = _UNVERIFIED.format(reason=error.verify_message)
            except OSError as error:
                raise TargetError(f"TLS with {connection.server} failed: {type(error).__name__}") from None

    def _logged_in(self, reason: str | None = None) -> str | None:
        """Open a session. Why its certificate was refused, when that is no failure: then call it again, with it."""
        strict = self._driver_tells and self._lenient and reason is None
        mode: TlsMode = "verify-full" if strict else self._plan.connection.tls
        plan = replace(self._plan, mode=mode, sock=self._plan.sock if reason is None else None)
        self._session = session = session_class(plan.connection.database_type)(plan)
        began = time.monotonic()
        try:
            with session.translated():
                session.open()
        except DatabaseFault as fault:
            if strict and fault.problem.certificate is not None:
                session.close()
                return fault.problem.certificate
            self._failed(session, fault, time.monotonic() - began, reason)
            raise
        self._passed(session, time.monotonic() - began, reason)
        return None

    def _failed(self, session: Session, fault: DatabaseFault, took: float, reason: str | None) -> None:
        at: StepName = "tls" if fault.problem.kind == "tls" else "login"
        if at == "login" and self._driver_tells and session.tls["version"]:
            self._steps.passed("tls", session.tls["seconds"], _tls_detail(session, reason))
        self._steps.failed(at, took, fault.problem.sentence)

    def _passed(self, session: Session, took: float, reason: str | None) -> None:
        connection = session.plan.connection
        if self._driver_tells:
            self._steps.passed("tls", session.tls["seconds"], _tls_detail(session, reason))
        who = f"{connection.user} in {connection.database}" if connection.database else connection.user
        self._steps.passed("login", took - session.tls["seconds"], who)


def _tls_detail(session: Session, reason: str | None) -> str:
    return f"{session.tls['version']}, certificate verified" if reason is None else _UNVERIFIED.format(reason=reason)
