"""The one HTTP client to the control plane (contract 1.1-1.6 and the negotiated extensions).

It asks once and answers once: pauses and repetitions belong to the loops that call it, which can be stopped. Every
failure leaves here as an error of `easyalert.errors`. Bodies and queries are never logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from easyalert.answers import REFUSAL_MAX_BYTES, check_key_in_use, check_status, map_error
from easyalert.breaker import CircuitBreaker
from easyalert.errors import BadAnswer, ConfigurationError, Unreachable
from easyalert.netguard.transport import system_trust
from easyalert.protocol import paths
from easyalert.protocol.messages import (
    AckData,
    AckRequest,
    HeartbeatRequest,
    Message,
    OrdersData,
    OutputData,
    OutputRequest,
    RegisterData,
    RegisterRequest,
    ResultsData,
)
from easyalert.settings import AgentSettings

ANSWER_MAX_BYTES: Final = 64 * 1024 * 1024
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 30.0
_PIECE_BYTES: Final = 65_536
_BLANK: Final = b" \t\r\n\xef\xbb\xbf"
"""What may stand before a document: white space, the mark of UTF-8."""
_SLOWEST_LINK_BYTES_PER_S: Final = 32 * 1024

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Is told what the client does (httpcore's `trace` extension)."""

M = TypeVar("M", bound=Message)


def encode(document: Any) -> bytes:
    """Compact UTF-8 JSON. Raises ValueError for NaN and lone surrogates, TypeError for what is no JSON value."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class ControlPlaneClient:
    """One connection pool per process. Methods raise ControlPlaneError's children; close it with `close`.

    Raises ConfigurationError at construction when the key or a proxy variable cannot be used.
    """

    def __init__(self, settings: AgentSettings, *, breaker: CircuitBreaker | None = None) -> None:
        self.breaker = breaker or CircuitBreaker()
        self.instance: str | None = None
        """Which running agent this is; set where feature instance was negotiated, then sent with every request."""
        self._base = settings.agent_api_url.rstrip("/")
        key = settings.agent_api_key.get_secret_value()
        if not (key and key.isascii() and key.isprintable()):
            raise ConfigurationError("AGENT_API_KEY is empty or holds characters no key has; copy it again")
        try:
            self._http = httpx.AsyncClient(
                headers={paths.API_KEY_HEADER: key, "Content-Type": "application/json"},
                verify=system_trust(),
                timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
                limits=httpx.Limits(max_connections=10, max_keepalive_connections=5, keepalive_expiry=30),
                follow_redirects=False,
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"the proxy variables of the environment (HTTPS_PROXY, HTTP_PROXY, …) cannot be used: {error}"
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def register(self, request: RegisterRequest) -> RegisterData:
        """Introduce this agent (contract 1.3). Not behind the breaker: it is how an agent comes back."""
        data = _data(await self._ask("POST", paths.REGISTER, encode(request.wire())))
        try:
            return _model(RegisterData, data)
        except BadAnswer:
            # extension fields of some other meaning must not keep an agent from a server's base protocol
            return _model(RegisterData, {"agentId": data.get("agentId")} if isinstance(data, dict) else data)

    async def poll(self, agent_id: str, *, wait: int | None = None, slots: int | None = None) -> list[Any]:
        """Jobs for this agent as they came: each entry is judged on its own by the caller (contract 1.4).

        `wait` (seconds) and `slots` only where the server offered longPoll.
        """
        query: dict[str, str | int] = {"agentId": agent_id}
        if wait is not None:
            query["wait"] = wait
        if slots is not None:
            query["slots"] = slots
        with self.breaker.request():
            answer = await self._ask("GET", paths.JOBS, query=query, patience=_ANSWER_S + (wait or 0))
            entries = _data(answer)
            if entries is None:
                return []
            if not isinstance(entries, list):
                raise BadAnswer("the control plane's answer to a poll holds no list of jobs")
            return entries

    async def orders(self, agent_id: str, *, wait: int) -> OrdersData:
        """Which jobs of this agent are to be cancelled: at once, or within `wait` seconds (feature cancel)."""
        query: dict[str, str | int] = {"agentId": agent_id, "wait": wait, "slots": 0}
        with self.breaker.request():
            return _model(OrdersData, _data(await self._ask("GET", paths.JOBS, query=query, patience=_ANSWER_S + wait)))

    async def acknowledge(self, request: AckRequest) -> AckData:
        """Say that hand-outs are durable here; the answer is the permit to start them (feature ack)."""
        with self.breaker.request():
            return _model(AckData, _data(await self._ask("POST", paths.JOBS_ACK, encode(request.wire()))))

    async def report(self, results: Sequence[bytes], *, receipts: bool) -> ResultsData | None:
        """Deliver encoded results as one array (contract 1.5). None: a plain server, whose 2xx is for all of them.

        Raises BadAnswer for a page: what is not the control plane has taken nothing.
        """
        size = sum(map(len, results)) + max(0, len(results) - 1) + len(b"[]")
        patience = _ANSWER_S + size / _SLOWEST_LINK_BYTES_PER_S
        body: bytes | _Array = _Array(results, size) if size > _PIECE_BYTES else b"[" + b",".join(results) + b"]"
        with self.breaker.request():
            answer = await self._ask("POST", paths.RESULTS, body, patience=patience)
            if receipts:
                return _model(ResultsData, _data(answer))
            _refuse_page(answer)
            return None

    async def send_output(self, job_id: str, request: OutputRequest) -> OutputData:
        """Deliver what a job prints (feature output). Past the breaker: nothing that matters may wait for this."""
        path = paths.JOB_OUTPUT.format(job_id=quote(job_id, safe=""))
        return _model(OutputData, _data(await self._ask("POST", path, encode(request.wire()))))

    async def heartbeat(self, request: HeartbeatRequest) -> dict[str, Any]:
        """Tell how this agent is (contract 1.6); `data` of the answer, empty where a plain server sends none.

        Any 2xx of a plain server will do, whatever it says, but a page is the word of something else on the way, which
        does so for every address. A server that was told more (it had offered a feature) answers with an object.
        """
        extended = request.components is not None
        with self.breaker.request():
            answer = await self._ask("POST", paths.HEARTBEAT, encode(request.wire()), patience=20)
            try:
                data = _data(answer)
            except BadAnswer:
                if extended:
                    raise
                _refuse_page(answer)
                return {}
        return data if isinstance(data, dict) else {}

    async def notify(self, document: dict[str, Any]) -> None:
        """Have a message passed on (contract 1.8): any 2xx but a page. Past the breaker: it counts its own attempts."""
        _refuse_page(await self._ask("POST", paths.NOTIFY, encode(document)))

    async def health(self, trace: Trace | None = None) -> None:
        """Nothing when the control plane is well: exactly 200, and no page. `trace` sees the connection being made."""
        _refuse_page(await self._ask("GET", paths.HEALTH, only=200, trace=trace))

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | _Array | None = None,
        *,
        query: dict[str, str | int] | None = None,
        patience: float = _ANSWER_S,
        only: int | None = None,
        trace: Trace | None = None,
    ) -> bytes:
        try:
            return await self._exchange(method, path, body, query, patience, only=only, trace=trace)
        finally:
            if body is not None and (isinstance(body, _Array) or len(body) > _PIECE_BYTES):
                # a request is part of a cycle of references: until a collection its body stays, and those of many;
                # here, because the frame below, as long as it is there, holds the request
                gc.collect()

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | _Array | None,
        query: dict[str, str | int] | None,
        patience: float,
        *,
        only: int | None,
        trace: Trace | None,
    ) -> bytes:
        timeout = httpx.Timeout(patience, connect=_CONNECT_S)
        headers = {} if self.instance is None else {paths.INSTANCE_HEADER: self.instance}
        if isinstance(body, _Array):
            headers["Content-Length"] = str(body.size)  # else it would go out chunked, which not every server takes
        try:
            # httpx's limits are per read: a peer that drips bytes would hold us for ever
            async with (
                asyncio.timeout(patience + _CONNECT_S),
                self._http.stream(
                    method,
                    self._base + path,
                    content=body,
                    params=query,
                    headers=headers,
                    timeout=timeout,
                    extensions={} if trace is None else {"trace": trace},
                ) as response,
            ):
                if response.status_code == HTTPStatus.CONFLICT:
                    with contextlib.suppress(BadAnswer):  # longer than any refusal of ours
                        check_key_in_use(await _read(response, REFUSAL_MAX_BYTES))
                check_status(response.status_code, response.headers)
                if only is not None and response.status_code != only:
                    raise BadAnswer(
                        f"the control plane answered {response.status_code} instead of {only}",
                        status=response.status_code,
                    )
                return await _read(response, ANSWER_MAX_BYTES)
        except TimeoutError:
            raise Unreachable(
                f"the control plane did not answer in full within {patience + _CONNECT_S:.0f} s"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise map_error(error) from None


class _Array:
    """A JSON array of encoded items as a body that is sent in pieces: a large result is not copied at every layer."""

    def __init__(self, items: Sequence[bytes], size: int) -> None:
        self.size = size
        self._items = items

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The array's bytes, in order."""
        for number, item in enumerate(self._items):
            yield b"," if number else b"["
            for start in range(0, len(item), _PIECE_BYTES):
                yield item[start : start + _PIECE_BYTES]
        yield b"]"


async def _read(response: httpx.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > limit:
            raise BadAnswer(f"the control plane's answer is larger than {limit} bytes", status=response.status_code)
        parts.append(part)
    return b"".join(parts)


def _data(body: bytes) -> Any:
    """`data` of an answer; None when it is missing or null. Raises BadAnswer when there is no JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: nested too deeply
        raise BadAnswer(
            "the control plane's answer is not JSON; is AGENT_API_URL really the control plane, not a proxy or a page?",
            status=200,
        ) from None
    if not isinstance(document, dict):
        raise BadAnswer("the control plane's answer is not a JSON object", status=200)
    return document.get("data")


def _refuse_page(body: bytes) -> None:
    """Raise BadAnswer for HTML or XML: the sign of a captive portal or a proxy, which answer 200 to everything."""
    if body.lstrip(_BLANK).startswith(b"<"):
        raise BadAnswer(
            "the control plane's answer is a page; is AGENT_API_URL really the control plane, and does the network ask "
            "for a login?",
            status=200,
        )


def _model(model: type[M], data: Any) -> M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # the values stay out of the sentence: an answer may hold secrets
        names = ", ".join(sorted({".".join(map(str, item["loc"])) or "data" for item in error.errors()}))
        raise BadAnswer(f"the control plane's answer does not fit the protocol at: {names[:200]}", status=200) from None
