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

**Time.** `timeout`, else `timeoutSeconds`, else 30 s, limits the whole exchange, never beyond the job's own limit.

**Assertions**, when given, decide for every status: `statusCodes: "404"` makes a 404 the expected answer, and a
redirect does not pass for a 200. Without `statusCodes` the status must be below 400, as without assertions.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final

import httpx
from pydantic import Field, field_validator

from easyalert import __version__
from easyalert.errors import EasyAlertError, InvalidParameter, PolicyRefused, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.naming import connection_address, join_url
from easyalert.netguard.target import Target, parse_target
from easyalert.netguard.transport import guarded_client
from workers.sdk import Context, Executor, ExecutorResult, action, failure, success
from workers.sdk.http_assertions import Assertions
from workers.sdk.http_body import HttpBody
from workers.sdk.http_redirects import MAX_REDIRECTS, REDIRECTS, Hop, next_hop
from workers.sdk.http_request import BodyType, auth_header, encode_body, header_list, with_query
from workers.sdk.parameters import Limited
from workers.sdk.stopping import cancelled, until_cancelled

DEFAULT_TIMEOUT_S: Final = 30.0
TEST_TIMEOUT_S: Final = 10.0
_CANCELLED: Final = "cancelled while waiting for the answer; the request may have taken effect"

_METHOD: Final = re.compile(r"[A-Z0-9!#$%&'*+.^_`|~-]{1,32}", re.ASCII)


class _OfConnection(Limited):
    connection_config: dict[str, Any] = Field(
        default_factory=dict,
        alias="connectionConfig",
        description="The connection's configuration, put in by the control plane.",
    )


class RequestParameters(_OfConnection):
    """What to send, and what the answer must be."""

    url: str = Field(default="", description="Absolute, or relative to `baseUrl`.")
    base_url: str = Field(default="", alias="baseUrl", description="Put before a `url` without scheme.")
    method: str = Field(default="GET", description="Any method but CONNECT.")
    headers: dict[str, Any] = Field(default_factory=dict, description="Header names and values.")
    query_params: dict[str, Any] = Field(
        default_factory=dict,
        alias="queryParams",
        description="Each replaces all parameters of the same name; a list repeats it.",
    )
    body: Any = Field(default=None, description="What to send; see `bodyType`.")
    body_type: BodyType = Field(default=BodyType.AUTO, alias="bodyType", description="auto, json, form, raw or none.")
    raw_content_type: str = Field(
        default="text/plain", alias="rawContentType", description="With `raw`, unless a Content-Type header is given."
    )
    follow_redirects: bool = Field(
        default=False,
        alias="followRedirects",
        description=f"At most {MAX_REDIRECTS}; never from https to http, never with a credential to another origin.",
    )
    assertions: Assertions = Field(default_factory=Assertions, description="What the answer must be.")

    @field_validator("headers", "query_params", "assertions", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value == "" else value

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        method = value.strip().upper() or "GET"
        if method == "CONNECT" or not _METHOD.fullmatch(method):
            raise ValueError("is no HTTP method that can be sent")
        return method

    @field_validator("body_type", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return (value.strip().lower() or "auto") if isinstance(value, str) else value


class ConnectionTestParameters(_OfConnection):
    """Where to; the address is the connection's."""

    base_url: str = Field(default="", alias="baseUrl", description="When `connectionConfig` names no address.")
    url: str = Field(default="", description="As `baseUrl`.")
    host: str = Field(default="", description="As `baseUrl`; https is assumed.")


@dataclass(frozen=True)
class _Exchanged:
    """An answer, its body, and how many redirects led to it."""

    answer: httpx.Response
    body: HttpBody
    followed: int


class HttpExecutor(Executor):
    """Requests through the address guard. Holds nothing between jobs: a client keeps cookies."""

    kind = "http"

    @action("request", idempotent=lambda params: params.method in {"GET", "HEAD"})
    async def request(self, ctx: Context, params: RequestParameters) -> ExecutorResult:
        """Send one request; 2xx and 3xx are success unless assertions say otherwise."""
        credential = ctx.credential() or {}
        base = params.base_url or connection_address(params.connection_config) or connection_address(credential)
        target = parse_target(with_query(join_url(base, params.url), params.query_params), ctx.network_policy)
        body, content_type = encode_body(params.body, params.body_type, params.raw_content_type)
        headers = header_list(params.headers, content_type)
        bound = (connection_address(credential), connection_address(params.connection_config), params.base_url)
        hop = _hop(params.method, target, headers, body, _auth(ctx, credential, target, bound))
        exchange = _exchange(ctx, hop, params.seconds(DEFAULT_TIMEOUT_S), follow=params.follow_redirects)
        exchanged = await until_cancelled(ctx, exchange)
        if exchanged is None:
            return cancelled(_CANCELLED)
        output, status = _output(ctx, exchanged), exchanged.answer.status_code
        problem = params.assertions.problem(status, exchanged.body)
        if problem is None and status >= 400 and not params.assertions.status_codes:
            problem = f"HTTP {status}"
        return success(output) if problem is None else failure(problem, output=output)

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
        auth = _auth(ctx, credential, target, addresses)
        for method in ("HEAD", "GET"):
            exchange = _exchange(ctx, _hop(method, target, [], None, auth), params.seconds(TEST_TIMEOUT_S))
            exchanged = await until_cancelled(ctx, exchange)
            if exchanged is None:
                return cancelled(_CANCELLED)
            output, status = _output(ctx, exchanged), exchanged.answer.status_code
            if status not in {405, 501}:
                break
        message = f"{target.short_origin} answered {status} to {method}"
        output["message"] = message
        return success(output) if status < 400 else failure(f"HTTP {status}", output=output)


def _hop(
    method: str,
    target: Target,
    headers: list[tuple[bytes, bytes]],
    body: bytes | None,
    auth: tuple[bytes, bytes] | None,
) -> Hop:
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


def _request(hop: Hop) -> httpx.Request:
    try:
        return httpx.Request(hop.method, hop.target.url, headers=list(hop.headers), content=hop.body)
    except (httpx.InvalidURL, UnicodeError):
        raise InvalidParameter("url", "is no URL that can be sent") from None


async def _exchange(ctx: Context, hop: Hop, seconds: float, *, follow: bool = False) -> _Exchanged:
    """A request and its answer, read up to the limit; with `follow`, the last answer of a chain of redirects.

    `seconds` limit the whole of it. Raises TargetError when there is no whole answer, and as `next_hop` does.
    """
    limit = max(0.001, min(seconds, ctx.remaining()))
    followed = 0
    try:
        async with asyncio.timeout(limit), guarded_client(ctx.network_policy, timeout=limit) as client:
            answer = await client.send(_request(hop), stream=True)
            while follow and answer.status_code in REDIRECTS and "location" in answer.headers:
                await answer.aclose()
                if followed == MAX_REDIRECTS:
                    raise TargetError(f"{hop.target.short_origin} redirects on after {MAX_REDIRECTS} redirects")
                followed += 1
                hop = next_hop(hop, answer.status_code, answer.headers["location"], ctx.network_policy)
                answer = await client.send(_request(hop), stream=True)
            body = HttpBody(
                content_encoding=answer.headers.get("content-encoding", ""),
                content_type=answer.headers.get("content-type", ""),
            )
            async for piece in answer.aiter_raw():
                body.feed(piece)
                if body.full:
                    break
            await answer.aclose()
    except (httpx.TimeoutException, TimeoutError):
        if ctx.stopped() == "timed_out":
            raise TimeoutError from None  # the job's limit, not the request's
        raise TargetError(f"{hop.target.short_origin} gave no complete answer within {limit:g} s") from None
    except httpx.TransportError as error:
        raise TargetError(f"no answer from {hop.target.short_origin}: {error or type(error).__name__}") from None
    return _Exchanged(answer, body, followed)


def _output(ctx: Context, exchanged: _Exchanged) -> dict[str, Any]:
    """The output of contract 3.3; of followed redirects, where the last one led."""
    answer, body = exchanged.answer, exchanged.body
    output: dict[str, Any] = {
        "statusCode": answer.status_code,
        "headers": {name.lower(): value for name, value in answer.headers.items()},
        "body": body.redacted(ctx.redactor),
        "bodyParsed": body.parsed(),
        "truncated": body.truncated,
    }
    if exchanged.followed:
        output |= {"redirectLocation": str(answer.request.url), "redirectFollowed": True}
    if 300 <= answer.status_code < 400:
        output |= {"redirectLocation": answer.headers.get("location", "unknown"), "redirectFollowed": False}
    return output


def _auth(
    ctx: Context, credential: dict[str, Any], target: Target, addresses: tuple[str, ...]
) -> tuple[bytes, bytes] | None:
    """The header that carries the credential; None when there is none. Raises PolicyRefused for a foreign origin.

    `addresses`: what may say where it belongs, the vault's entry first.
    """
    header = auth_header(credential, str(ctx.connection_id))
    if header is None:
        return None
    address = next((address for address in addresses if address), "")
    if not address:
        raise PolicyRefused(
            f"the credential of connection '{ctx.connection_id}' is bound to no origin, so it is not sent to "
            f"{target.short_origin}; add baseUrl to the connection or to its vault entry"
        )
    try:
        bound = parse_target(address, NetworkPolicy(allow_private=True), parameter="baseUrl").origin
    except EasyAlertError as error:
        raise PolicyRefused(f"the address of connection '{ctx.connection_id}' cannot be read: {error}") from None
    if bound != target.origin:
        raise PolicyRefused(
            f"the credential of connection '{ctx.connection_id}' belongs to {bound} and is not sent to {target.origin}"
        )
    if not addresses[0]:
        ctx.bind_credential(bound)
    return header
