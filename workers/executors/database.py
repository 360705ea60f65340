"""SQL: `database.executeQuery`, `database.testConnection` (contract 3.10), for PostgreSQL, MySQL and MariaDB, and with
the extras `mssql` and `oracle` for SQL Server and Oracle.

**What a query is** is not guessed from its first word: if the server answers with columns, it is a `select`, else a
`modify`. Every statement is committed by itself when it succeeds, `WITH … UPDATE` and functions that write included,
and its errors are the job's, up to the last row. So rows past `maxRows` are read too, and counted (`totalRows`). The
result is bounded: 1,000 rows, 1 MiB, 256 KiB a value; of a longer value head and tail are kept, and `cellsCut` has its
size. With `readOnly` the server stops sending at the limit. Unlike in the contract, an empty result has its `columns`.

**Read-only** queries (`readOnly` in the job or in the connection; neither lifts the other) run in a read-only
transaction of PostgreSQL, MySQL or MariaDB: it is the server that refuses to write. On the latter two only statements
that cannot leave their transaction are taken. SQL Server and Oracle promise no such thing: there it is refused. What a
function does outside of the database's data is up to the account's rights.

**Bind parameters**: `bindParams`, an object for `:name` or a list for `?`. Quoted text and comments are left alone.
PostgreSQL and Oracle get values apart from the text; for MySQL and SQL Server the driver quotes them. Lists are arrays,
for PostgreSQL only (`= ANY(:ids)`). PostgreSQL takes types from where a parameter stands; a cast (`:day::date`) helps.

**One statement** is run. Several are refused, because text that a template has put together could bring its own;
`multi: true` allows them on PostgreSQL and MySQL, without parameters and not read-only; the last rows are given. On SQL
Server a text may always hold several.

**TLS**: `sslMode` not given means `require` as in the contract: encrypted, but nobody has proved to be the server. With
a `caCertificate` it means `verify-full`. Output and `testConnection` say whether the certificate was verified. While it
is not, a server that asks for the password in clear text does not get it; MySQL's `caching_sha2_password` may.

**Time**: `timeout`, else 30 s. When it is over, or the job is cancelled, the server is asked to end the statement; the
error says if it has not confirmed that. The server has a limit of its own, 5 s later.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import Field, field_validator

from easyalert.errors import CredentialError, Fault, InvalidParameter, TargetError
from workers.sdk import Context, Executor, ExecutorResult, action, failure, read_connection, success
from workers.sdk.database_connection import TITLES, DatabaseConnection, tls_files
from workers.sdk.database_session import DatabaseFault, Plan, Query, Session, session_class
from workers.sdk.database_sql import PARAMETERS_MAX, first_word
from workers.sdk.database_testing import ConnectionTest
from workers.sdk.database_values import ROWS_MAX, Rows
from workers.sdk.database_watching import Ending, watched
from workers.sdk.dialing import dial
from workers.sdk.parameters import Count, Limited
from workers.sdk.steps import Steps
from workers.sdk.stopping import at_the_jobs_limit, cancelled, time_for, until_cancelled

QUERY_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 15.0
TEST_TIMEOUT_S: Final = 15.0
QUERY_MAX_CHARS: Final = 10_000
_BACKSTOP_S: Final = 5.0
_INTEGERS: Final = range(-(2**63), 2**64)


class QueryParameters(Limited):
    """What to run, and how much of its answer to keep."""

    query: str = Field(description=f"SQL, at most {QUERY_MAX_CHARS} characters after trimming.")
    bind_params: dict[str, Any] | list[Any] | None = Field(
        default=None,
        alias="bindParams",
        description="Values: an object for `:name`, a list for `?`. Texts, numbers, booleans, null; PostgreSQL: lists.",
    )
    max_rows: Annotated[Count, Field(ge=1)] = Field(
        default=ROWS_MAX, alias="maxRows", description=f"Rows to return; more than {ROWS_MAX} means {ROWS_MAX}."
    )
    read_only: bool = Field(
        default=False, alias="readOnly", description="The server is to refuse whatever would write."
    )
    multi: bool = Field(default=False, description="The text may hold several statements; not with the other two.")

    @field_validator("query")
    @classmethod
    def _a_query(cls, value: str) -> str:
        text = value.strip()
        if not text:
            raise ValueError("must not be blank")
        if len(text) > QUERY_MAX_CHARS:
            raise ValueError(f"is longer than {QUERY_MAX_CHARS} characters")
        _sendable(text)
        return text

    @field_validator("bind_params", mode="before")
    @classmethod
    def _bindable(cls, value: Any) -> Any:
        if not isinstance(value, dict | list):
            raise ValueError("must be an object (for :name) or a list (for ?)")  # noqa: TRY004 - pydantic wants it
        if len(value) > PARAMETERS_MAX:
            raise ValueError(f"holds more than {PARAMETERS_MAX} values")
        if isinstance(value, dict) and not all(isinstance(name, str) and name.isidentifier() for name in value):
            raise ValueError("holds a name that is no name (letters, digits, underscore)")
        for item in value.values() if isinstance(value, dict) else value:
            for scalar in item if isinstance(item, list) else (item,):
                _scalar(scalar)
        return value


def _scalar(value: Any) -> None:
    if isinstance(value, str):
        _sendable(value)
    elif isinstance(value, int):
        if value not in _INTEGERS:
            raise ValueError("holds an integer of more than 64 bits")
    elif value is not None and not isinstance(value, float):
        raise ValueError("holds a value that is no text, number, boolean or null")


def _sendable(text: str) -> None:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("holds characters that are no text (lone surrogates)")


class ConnectionTestParameters(Limited):
    """How long it may take; where to go is the connection's."""


class Database(Executor):
    """Queries, each on a connection of its own."""

    kind = "database"
    connection = DatabaseConnection

    @action("executeQuery", idempotent=lambda params: params.read_only)
    async def execute_query(self, ctx: Context, params: QueryParameters) -> ExecutorResult:
        """Run one statement and return its rows, or how many it has changed."""
        connection = _connection(ctx)
        kind = session_class(connection.database_type)
        read_only = params.read_only or connection.read_only
        _check(params, connection, kind, read_only=read_only)
        seconds = time_for(ctx, params.seconds(QUERY_TIMEOUT_S))
        query = Query(params.query, params.bind_params, Rows(min(params.max_rows, ROWS_MAX), ctx.redactor.text))
        with tls_files(ctx, connection) as files:
            plan = Plan(connection, files, connection.tls, seconds + _BACKSTOP_S, read_only, params.multi)
            try:
                dialled = await _dialled(ctx, plan, seconds, Steps())
            except TargetError as error:
                return failure(str(error), output=_head(connection))
            if dialled is None:
                return cancelled("cancelled: there was no connection yet", output=_head(connection))
            session = kind(dialled)
            ending = await watched(ctx, session, lambda: _run(session, query), seconds)
        return _result(ctx, session, query, ending, seconds)

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Connect, with TLS as the connection says, log in, and run a query that reads nothing."""
        connection = _connection(ctx)
        session_class(connection.database_type)  # whether there is a driver is the first thing to say
        seconds, steps = time_for(ctx, params.seconds(TEST_TIMEOUT_S)), Steps()
        output = {"host": connection.host, "port": connection.real_port, **_head(connection)}
        error: BaseException | None
        with tls_files(ctx, connection) as files:
            plan = Plan(connection, files, connection.tls, seconds + _BACKSTOP_S)
            try:
                dialled = await _dialled(ctx, plan, seconds, steps)
            except TargetError as refused:
                error = refused
            else:
                if dialled is None:
                    return cancelled("cancelled: there was no connection yet", output=output)
                test = ConnectionTest(dialled, steps)
                ending = await watched(ctx, test, test.run, seconds)
                if ending.stopped is not None:
                    output |= {"message": "the test was ended", "steps": steps.report()}
                    return _stopped(ctx, ending, seconds, "the test was not finished", output)
                error = ending.error
        if error is not None and not isinstance(error, TargetError):
            raise error
        at = next((step["step"] for step in steps.report() if not step["ok"]), "login")
        sentence = f"{at}: {error}" if error is not None else f"{connection.server}: {connection.user} can log in"
        output |= {"message": sentence, "steps": steps.report()}
        return success(output) if error is None else failure(sentence, output=output)


def _connection(ctx: Context) -> DatabaseConnection:
    connection = read_connection(ctx, DatabaseConnection)
    if "host" not in connection.model_fields_set:
        ctx.bind_credential(connection.host)  # the default is an address too
    if (connection.client_certificate is None) != (connection.client_key is None):
        raise CredentialError("'clientCertificate' and 'clientKey' of the connection go together; one is missing")
    return connection


def _check(params: QueryParameters, connection: DatabaseConnection, kind: type[Session], *, read_only: bool) -> None:
    """Raises InvalidParameter for what does not go together."""
    if read_only and not kind.enforces_read_only:
        raise InvalidParameter(
            "readOnly",
            f"is not possible: {TITLES[connection.database_type]} would not keep to it; "
            "use an account without rights to write",
        )
    if params.multi and read_only:
        raise InvalidParameter("multi", "is not possible in a read-only query: a statement could end that mode")
    if params.multi and params.bind_params is not None:
        raise InvalidParameter("multi", "is not possible with bindParams")
    if params.multi and connection.database_type == "oracle":
        raise InvalidParameter("multi", "is not possible with Oracle; write a block (BEGIN ... END;)")
    given = params.bind_params or []
    values = given.values() if isinstance(given, dict) else given
    if connection.database_type != "postgresql" and any(isinstance(value, list) for value in values):
        raise InvalidParameter("bindParams", "holds a list, which only PostgreSQL has a type for (arrays)")


async def _dialled(ctx: Context, plan: Plan, seconds: float, steps: Steps) -> Plan | None:
    """The plan with a connected socket and the address it leads to; None when cancelled. Raises TargetError."""
    connection, limit = plan.connection, min(CONNECT_TIMEOUT_S, seconds)
    made = await until_cancelled(ctx, dial(ctx, connection.host, connection.real_port, timeout=limit, steps=steps))
    if made is None:
        return None
    made.settimeout(limit)
    return replace(plan, address=made.getpeername()[0], sock=made, connect_s=limit)


def _run(session: Session, query: Query) -> None:
    try:
        with session.translated():
            session.open()
            if not session.stopping.is_set():
                session.run(query)
    finally:
        session.close()


def _result(ctx: Context, session: Session, query: Query, ending: Ending, seconds: float) -> ExecutorResult:
    connection, error = session.plan.connection, ending.error
    output = _output(session, query, whole=error is None and ending.stopped is None)
    if ending.stopped is not None:
        return _stopped(ctx, ending, seconds, _what_remains(session, query, ending), output)
    if error is None:
        return success(output)
    if not isinstance(error, DatabaseFault):
        raise error
    problem = error.problem
    sentence = f"{connection.server}: {problem.sentence}{_place(query, problem.detail)}"
    if problem.kind == "lost" and query.sent is not None:
        sentence += " while the statement ran"
        sentence += "; it was read-only" if session.plan.read_only else "; whether it took effect is not known"
    return failure(sentence, output={**output, "serverError": problem.detail})


def _stopped(ctx: Context, ending: Ending, seconds: float, remains: str, output: dict[str, Any]) -> ExecutorResult:
    if ending.stopped == "cancelled":
        return cancelled(f"cancelled: {remains}", output=output)
    limit = ctx.timeout_s if at_the_jobs_limit(ctx) else seconds
    sentence = f"timed out after {limit:g} seconds: {remains}"
    return failure(sentence, output=output, exit_code=-1, fault=Fault.TARGET, outcome="timed_out")


def _what_remains(session: Session, query: Query, ending: Ending) -> str:
    if query.sent is None:
        return "the log-in had not ended, the query was not sent"
    if ending.confirmed:
        return "the server ended the statement"
    return (
        "the server has not confirmed the end of the statement: it may run on, "
        f"up to {session.plan.statement_s:.0f} seconds from its start"
    )


def _head(connection: DatabaseConnection) -> dict[str, Any]:
    return {"databaseType": connection.database_type, "dbname": connection.database}


def _output(session: Session, query: Query, *, whole: bool) -> dict[str, Any]:
    """The output of contract 3.10; of a failed query what there is of it."""
    connection, rows = session.plan.connection, query.rows
    made: dict[str, Any] = _head(connection)
    if connection.tls != "disable":
        made["tls"] = "verified" if session.tls["verified"] else "not verified"
    word = first_word(query.text, session.grammar)
    if rows.columns is not None:
        made |= {"queryType": "select", **rows.output()}
        if query.affected is not None:
            made["rowsAffected"] = query.affected
        return made
    if not whole:
        return made
    status = query.command or (f"{word} {query.affected}" if query.affected is not None else word)
    return made | {"queryType": "modify", "rowsAffected": query.affected, "statusMessage": status}


def _place(query: Query, detail: dict[str, Any]) -> str:
    """Where in the text the server saw the error; with parameters the columns are not those of the job."""
    position = detail.get("position")
    if not isinstance(position, int):
        return ""
    before = (query.sent or "")[: position - 1]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    detail |= {"line": line, **({"column": column} if query.parameters is None else {})}
    return f" at line {line}" + (f", column {column}" if query.parameters is None else "")
