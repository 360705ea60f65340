"""One connection to a database: opened, used for one query, ended, by a driver that waits in a thread of its own.

The drivers are SQLAlchemy's: its dialects know how each is put into autocommit, which of its errors mean that the
connection is gone, and how its cursors behave. Text goes to the server as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from easyalert.errors import AgentFault, EasyAlertError, TargetError
from workers.sdk.database_connection import TITLES, DatabaseConnection, DatabaseType, TlsFiles, TlsMode
from workers.sdk.database_sql import Bound, Dialect
from workers.sdk.database_values import Rows

log = logging.getLogger(__name__)

APPLICATION: Final = "easyalert-agent"
CANCEL_TIMEOUT_S: Final = 3

# at DEBUG they would log statements, parameters and connection strings
for _name in ("sqlalchemy", "psycopg", "pymysql", "oracledb"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Plan:
    """What a session needs to open. The last three are known when the server has been dialled."""

    connection: DatabaseConnection
    files: TlsFiles
    mode: TlsMode
    statement_s: float
    """After this the server ends a statement by itself, should the agent not be there to do it."""
    read_only: bool = False
    multi: bool = False
    connect_s: float = 15.0
    address: str = ""
    """The judged literal that is dialled; the name is for TLS only."""
    sock: socket.socket | None = None
    """A connection to it. A session of a driver that takes one uses it, any other closes it."""


@dataclass
class Query:
    """What is to run, and what came of it so far. Filled by the session's thread, read by the job's."""

    text: str
    parameters: Bound | None
    rows: Rows
    affected: int | None = None
    """Rows that a statement has written; None when the server does not say."""
    sent: str | None = None
    """The text as it was sent; from here on it may have taken effect."""
    command: str | None = None
    """The server's own word for what it did, where it has one."""


ProblemKind = Literal["refused", "login", "lost", "ended", "tls"]


@dataclass(frozen=True)
class Problem:
    """A driver's error in our words. `detail` holds what the server said beyond the sentence."""

    kind: ProblemKind
    sentence: str
    detail: dict[str, Any] = field(default_factory=dict)
    certificate: str | None = None
    """Why the server's certificate was refused, if that was it."""


class DatabaseFault(TargetError):  # noqa: N818 - the tree's own way of naming
    """What a driver's error has become."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        self.problem = problem


def _not_understood(error: Exception) -> Problem:
    """Drivers meet what is no answer of their server with all sorts of errors, whose text may quote it."""
    log.warning("a database driver failed with %s", type(error).__name__)
    log.debug("its details", exc_info=error)
    return Problem("lost", f"the driver could not make sense of what the server sent ({type(error).__name__})")


class Session(ABC):
    """Blocking. `open`, `run` and `close` in one thread; `cancel` and `abort` from any other, at any time."""

    dialect: ClassVar[str]
    """SQLAlchemy's name, with the driver."""
    grammar: ClassVar[Dialect]
    probe: ClassVar[str] = "SELECT 1"
    """A harmless query."""
    takes_socket: ClassVar[bool] = False
    """It uses the plan's socket."""
    enforces_read_only: ClassVar[bool] = False
    """The server itself refuses writes of a read-only query."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stopping = threading.Event()
        """Somebody has asked the query to end; errors from then on are its consequence."""
        self.tls: dict[str, Any] = {"version": None, "verified": False, "seconds": 0.0}
        self._engine = self._made_engine()
        self._raw: Any = None
        if plan.sock is not None and not self.takes_socket:
            plan.sock.close()

    def _made_engine(self) -> Engine:
        return create_engine(
            f"{self.dialect}://", creator=self._connected, poolclass=NullPool, pool_reset_on_return=None,
            hide_parameters=True,
            _initialize=False,  # it would ask the server half a dozen questions whose answers are not used
        )  # fmt: skip

    @abstractmethod
    def _connected(self) -> Any:
        """A new connection of the driver, logged in."""

    @abstractmethod
    def run(self, query: Query) -> None:
        """Run it to its end, whole effect and last error included. Raises the driver's errors."""

    @abstractmethod
    def cancel(self) -> None:
        """Ask the server to end the statement. Raises the driver's errors, OSError, when it could not be asked."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection, so that whoever waits on it wakes."""

    @abstractmethod
    def explained(self, error: Exception) -> Problem | None:
        """An error of the driver; None when it is none of its own."""

    def open(self) -> None:
        """Connect and log in. Raises the driver's errors."""
        self._raw = self._engine.raw_connection()
        if not self.plan.read_only:
            # each statement is whole by itself, at its end, whatever it is (defect A14)
            self._engine.dialect.set_isolation_level(self._raw.dbapi_connection, "AUTOCOMMIT")

    @property
    def driver(self) -> Any:
        """The driver's connection; None before `open`."""
        return None if self._raw is None else self._raw.dbapi_connection

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the driver become DatabaseFault; ours pass."""
        try:
            yield
        except EasyAlertError:
            raise
        except Exception as error:  # noqa: BLE001 - see `_not_understood`
            raise DatabaseFault(self.explained(error) or _not_understood(error)) from None

    def is_lost(self, error: Exception) -> bool:
        """SQLAlchemy knows which errors of each driver mean that the connection is gone."""
        base = self._engine.dialect.loaded_dbapi.Error
        return isinstance(error, base) and bool(self._engine.dialect.is_disconnect(error, self.driver, None))

    def close(self) -> None:
        """Leave; raises nothing."""
        with contextlib.suppress(Exception):
            if self._raw is not None:
                self._raw.close()
        with contextlib.suppress(Exception):
            self._engine.dispose()


_MODULES: Final[dict[DatabaseType, tuple[str, str]]] = {
    "postgresql": ("workers.sdk.database_postgresql", "PostgresqlSession"),
    "mysql": ("workers.sdk.database_mysql", "MysqlSession"),
    "mssql": ("workers.sdk.database_mssql", "MssqlSession"),
    "oracle": ("workers.sdk.database_oracle", "OracleSession"),
}


def session_class(kind: DatabaseType) -> type[Session]:
    """Its module is imported when it is first asked for: a driver costs memory. Raises AgentFault without driver."""
    module, name = _MODULES[kind]
    try:
        found: type[Session] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise AgentFault(
            f"this agent has no driver for {TITLES[kind]} ({error.name}); install it on the agent's host: "
            f"pip install 'easyalert-agents[{kind}]'"
        ) from None
    return found


def taken(cursor: Any, query: Query, *, until_full: bool = False) -> None:
    """Read a cursor's rows in small pieces to their end; past the limit they are counted and dropped.

    `until_full`: stop at the first row that is dropped, and leave the set incomplete.
    """
    rows = query.rows
    rows.begin([str(column[0]) for column in cursor.description])
    while batch := cursor.fetchmany(_BATCH):
        rows.count(len(batch))
        for row in batch:
            rows.add(row)
        if rows.overflowed and until_full:
            return
    rows.complete = True


_BATCH: Final = 20
"""Rows of a million characters each are possible."""
