"""HTTP requests: `http.request`, `http.testConnection` (contract 3.3).

**Where a request may go** is decided by the address guard for every connection. Redirects are not followed, unless the
job says `followRedirects`: then each hop is judged anew by the rules of `workers.sdk.http_redirects`.

**Where a credential may go.** It is bound to one origin (scheme, host and port), the first of these that there is:

1. `baseUrl`, `url` or `host` (with `port`) of the vault entry: the owner's word, which no job can change;
2. `baseUrl`, `url` or `host` (with `port`) of `params.connectionConfig`;
3. `baseUrl` of the job's parameters, where the control plane puts the connection's configuration (contract 3.0).

Where the vault's entry names none, the agent remembers the first origin that its credential was sent to, and refuses
every other from then on (`Context.bind_credential`).

A `host` without scheme means https. A request with a credential to any other origin, or with a credential that is bound
to none, is refused before a connection is opened, instead of being sent without it: whoever names a connection wants
its credential used. A connection without vault entry, or whose entry holds no secret, is sent without (contract 3.0).

**Certificates.** `clientCertificate` and `clientKey` of the vault's entry are a credential like the others and are used
for that origin only; `caCertificate` says whom to trust there instead of the machine's authorities.

**Time.** `timeout`, else `timeoutSeconds`, else 30 s, limits the whole exchange, never beyond the job's own limit. What
had come when an exchange was cut off, timed out or was cancelled is in the output, with `truncated: true`.

**Retries.** With `retries`, a GET, HEAD, OPTIONS, PUT or DELETE is tried again after the answers of `retryOn`, or when
no whole answer came. Pauses are those of `Retry-After`, else they grow from one second to 30. The time limit above is
then that of each attempt; all of them together end with the job's own, which `timeout` sets too: for a short one of
each attempt, give `timeoutSeconds`. `attempts` in the output lists each with its status or error, its time and the
pause after it.

**Assertions**, when given, decide for every status: `statusCodes: "404"` makes a 404 the expected answer, and a
redirect does not pass for a 200. Without `statusCodes` the status must be below 400, as without assertions.

**The test** of a connection reports its steps: name, tcp, tls, then login (401 fails it) where there is a credential,
and permission (any other status from 400 on fails it).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from easyalert import __version__
from easyalert.errors import Fault, InvalidParameter, TargetError
from easyalert.netguard.naming import connection_address, join_url
from easyalert.netguard.target import URL_MAX_CHARS, Target, parse_target
from workers.sdk import Context, Executor, ExecutorResult, action, failure, success
from workers.sdk.http_assertions import Assertions, StatusRange
from workers.sdk.http_connection import Access, HttpConnection, access_to
from workers.sdk.http_exchange import Attempt
from workers.sdk.http_redirects import MAX_REDIRECTS, Hop
from workers.sdk.http_request import BodyType, encode_body, header_list, with_query
from workers.sdk.http_retries import REPEATABLE, RETRIES_MAX, USUALLY, Attempts, retry_ranges
from workers.sdk.parameters import Count, Limited, Prose, Word, one_line
from workers.sdk.stopping import cancelled, until_cancelled

DEFAULT_TIMEOUT_S: Final = 30.0
TEST_TIMEOUT_S: Final = 10.0

_METHOD: Final = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]{1,32}", re.ASCII)

_Address = Annotated[Prose, Field(max_length=URL_MAX_CHARS), AfterValidator(one_line)]


class _OfConnection(Limited):
    connection_config: dict[str, Any] = Field(
        default_factory=dict,
        alias="connectionConfig",
        description="The connection's configuration, put in by the control plane.",
    )


class RequestParameters(_OfConnection):
    """What to send, and what the answer must be."""

    url: _Address = Field(default="", description="Absolute, or relative to `baseUrl`.")
    base_url: _Address = Field(default="", alias="baseUrl", description="Put before a `url` without scheme.")
    method: str = Field(default="GET", description="Any method but CONNECT.")
    headers: dict[str, Any] = Field(default_factory=dict, description="Header names and values.")
    query_params: dict[str, Any] = Field(
        default_factory=dict,
        alias="queryParams",
        description="Each replaces all parameters of the same name; a list repeats it.",
    )
    body: Any = Field(default=None, description="What to send; see `bodyType`.")
    body_type: BodyType = Field(default=BodyType.AUTO, alias="bodyType", description="auto, json, form, raw or none.")
    raw_content_type: Word = Field(
        default="text/plain", alias="rawContentType", description="With `raw`, unless a Content-Type header is given."
    )
    follow_redirects: bool = Field(
        default=False,
        alias="followRedirects",
        description=f"At most {MAX_REDIRECTS}; never from https to http, never with a credential to another origin.",
    )
    retries: Count = Field(
        default=0, le=RETRIES_MAX, description=f"How often to try again; for {', '.join(REPEATABLE)} only."
    )
    retry_on: Annotated[tuple[StatusRange, ...], BeforeValidator(retry_ranges)] = Field(
        default=(),
        alias="retryOn",
        description=f'Statuses, as in `statusCodes`, and `no-answer`. Not given: `"{USUALLY}"`.',
    )
    assertions: Assertions = Field(default_factory=Assertions, description="What the answer must be.")

    @field_validator("headers", "query_params", "assertions", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value == "" else value

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        method = value.strip(" ").upper() or "GET"
        if method == "CONNECT" or not _METHOD.fullmatch(method):
            raise ValueError("is no HTTP method that can be sent")
        return method

    @field_validator("body_type", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return (value.strip(" ").lower() or "auto") if isinstance(value, str) else value


class ConnectionTestParameters(_OfConnection):
    """Where to; the address is the connection's."""

    base_url: _Address = Field(default="", alias="baseUrl", description="When `connectionConfig` names no address.")
    url: _Address = Field(default="", description="As `baseUrl`.")
    host: _Address = Field(default="", description="As `baseUrl`; https is assumed.")


class HttpExecutor(Executor):
    """Requests through the address guard. Holds nothing between jobs: a client keeps cookies."""

    kind = "http"
    connection = HttpConnection

    @action("request", idempotent=lambda params: params.method in {"GET", "HEAD"})
    async def request(self, ctx: Context, params: RequestParameters) -> ExecutorResult:
        """Send one request; 2xx and 3xx are success unless assertions say otherwise."""
        if params.retries and params.method not in REPEATABLE:
            raise InvalidParameter("retries", f"is for {', '.join(REPEATABLE)} only: others may take effect twice")
        credential = ctx.credential() or {}
        base = params.base_url or connection_address(params.connection_config) or connection_address(credential)
        target = parse_target(with_query(join_url(base, params.url), params.query_params), ctx.network_policy)
        body, content_type = encode_body(params.body, params.body_type, params.raw_content_type)
        headers = header_list(params.headers, content_type)
        bound = (connection_address(credential), connection_address(params.connection_config), params.base_url)
        access = access_to(ctx, target, bound)
        hop = _hop(params.method, target, headers, body, access)
        seconds = params.seconds(DEFAULT_TIMEOUT_S)
        attempts = Attempts(
            lambda: Attempt(ctx, hop, seconds, access.tls, params.follow_redirects),
            params.retries,
            params.retry_on,
            params.assertions.status_codes,
        )
        ended = await _end_of(ctx, attempts)
        return _judged(attempts, params.assertions) if ended is None else ended

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """HEAD, or GET where HEAD is not supported, on the connection's address, with its credential."""
        credential = ctx.credential() or {}
        own = {"baseUrl": params.base_url, "url": params.url, "host": params.host}
        addresses = (
            connection_address(credential),
            connection_address(params.connection_config),
            connection_address(own),
        )
        asked = addresses[1] or addresses[2] or addresses[0]
        if not asked:
            raise InvalidParameter("connectionConfig.baseUrl", "is required (or url, or host)")
        target = parse_target(asked, ctx.network_policy, parameter="connectionConfig.baseUrl")
        access, seconds = access_to(ctx, target, addresses), params.seconds(TEST_TIMEOUT_S)
        for method in ("HEAD", "GET"):
            attempt = Attempt(ctx, _hop(method, target, [], None, access), seconds, access.tls)
            ended = await _end_of_test(ctx, attempt)
            if ended is not None or (attempt.answer and attempt.answer.status_code not in {405, 501}):
                break
        return _tested(attempt, access) if ended is None else ended


async def _end_of(ctx: Context, attempts: Attempts) -> ExecutorResult | None:
    """None when there is an answer, else the result: with what had come of it, and what may have happened."""
    try:
        done = await until_cancelled(ctx, _true(attempts.carry_out()))
    except TargetError as error:
        output = _output(attempts)
        tried = f" ({len(attempts.made)} attempts)" if len(attempts.made) > 1 else ""
        return failure(f"{error}{tried}{attempts.last.fate}", output=output, exit_code=-1)
    except TimeoutError:
        sentence = f"timed out after {ctx.timeout_s} seconds{attempts.last.fate}"
        return failure(sentence, output=_output(attempts), exit_code=-1, outcome="timed_out")
    if done is None:
        sentence = f"cancelled while waiting for the answer{attempts.last.fate}"
        return cancelled(sentence, output=_output(attempts))
    return None


async def _true(work: Awaitable[None]) -> bool:
    await work
    return True


def _output(attempts: Attempts) -> dict[str, Any] | None:
    output = attempts.last.output()
    if attempts.retries:
        output = {**(output or {}), "attempts": attempts.made}
    return output


def _judged(attempts: Attempts, assertions: Assertions) -> ExecutorResult:
    """The result of an answer."""
    answer, body, output = attempts.last.answer, attempts.last.body, _output(attempts)
    if answer is None or body is None:  # never: it was read to its end
        raise TargetError("no answer")
    problem = assertions.problem(answer.status_code, body)
    if problem is None and answer.status_code >= 400 and not assertions.status_codes:
        problem = f"HTTP {answer.status_code}"
    if problem is None:
        return success(output)
    if attempts.too_long_s is not None:
        problem += f"; it asks for a pause of {attempts.too_long_s:g} s, and less is left of this job's time"
    elif len(attempts.made) > 1:
        problem += f" ({len(attempts.made)} attempts)"
    return failure(problem, output=output)


async def _end_of_test(ctx: Context, attempt: Attempt) -> ExecutorResult | None:
    """None when there is an answer, else the result, whose error names the step that failed."""
    outcome: Literal["finished", "timed_out", "cancelled"] = "finished"
    try:
        if await until_cancelled(ctx, _true(attempt.carry_out())):
            return None
        outcome, sentence = "cancelled", "cancelled while waiting for the answer"
    except TargetError as error:
        sentence = str(error)
    except TimeoutError:
        outcome, sentence = "timed_out", f"timed out after {ctx.timeout_s} seconds"
    steps = attempt.steps.report()
    if not steps or steps[-1]["ok"]:  # connected, and then nothing came
        attempt.steps.failed("permission", _exchange_s(attempt), sentence)
        steps = attempt.steps.report()
    fault = None if outcome == "cancelled" else Fault.TARGET
    sentence = f"{steps[-1]['step']}: {sentence}"
    return failure(sentence, output={"steps": steps}, exit_code=-1, fault=fault, outcome=outcome)


def _exchange_s(attempt: Attempt) -> float:
    """Of its time, what is not in a step."""
    in_steps_ms: int = sum(step["durationMs"] for step in attempt.steps.report())
    return max(0.0, attempt.took_s - in_steps_ms / 1000)


def _tested(attempt: Attempt, access: Access) -> ExecutorResult:
    """The result of a test that got an answer."""
    answer = attempt.answer
    if answer is None:  # never: it was read to its end
        raise TargetError("no answer")
    status, took_s, steps = answer.status_code, _exchange_s(attempt), attempt.steps
    credential = access.header is not None or access.own_certificate
    problem = None
    if status == 401:
        said = "the credential is not accepted" if credential else "it wants a credential, and the vault has none"
        problem = f"HTTP 401 (login): {said}"
        steps.failed("login", took_s, said)
    else:
        if credential:
            steps.passed("login", took_s, "not refused")
        if status < 400:
            steps.passed("permission", 0.0 if credential else took_s, f"HTTP {status}")
        else:
            problem = f"HTTP {status} (permission)"
            steps.failed("permission", 0.0 if credential else took_s, f"HTTP {status}")
    where = attempt.hop.target.short_origin
    message = f"{where} answered {status} to {attempt.hop.method}"
    output = {**(attempt.output() or {}), "message": message, "steps": steps.report()}
    return success(output) if problem is None else failure(problem, output=output)


def _hop(
    method: str,
    target: Target,
    headers: list[tuple[bytes, bytes]],
    body: bytes | None,
    access: Access,
) -> Hop:
    auth = access.header
    if auth is not None:  # the credential replaces what the job says about the same header
        headers = [*(header for header in headers if header[0].lower() != auth[0].lower()), auth]
    given = {name.lower() for name, _ in headers}
    defaults = (
        (b"User-Agent", f"easyalert-agent/{__version__}".encode()),
        (b"Accept", b"*/*"),
        (b"Accept-Encoding", b"gzip, deflate"),
    )
    headers = [*(default for default in defaults if default[0].lower() not in given), *headers]
    return Hop(method, target, tuple(headers), body)
