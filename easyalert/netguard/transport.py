"""An httpx client that dials judged addresses only.

Each new connection looks its name up once, judges every address of the answer, dials one of those literals and compares
what it is connected to. TLS name, SNI and `Host` stay the name, so certificates are checked as always. Proxies and
other settings of the environment are ignored, redirects are not followed, and one deadline covers a whole exchange.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, cast

import certifi
import httpcore
import httpx

from easyalert.errors import AddressRefused
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.racing import first_to_answer
from easyalert.netguard.resolver import Resolver, SystemResolver, resolve_and_judge
from easyalert.netguard.target import parse_target


def guarded_client(
    policy: NetworkPolicy,
    *,
    timeout: float,
    verify: ssl.SSLContext | bool = True,
    resolver: Resolver | None = None,
) -> httpx.AsyncClient:
    """A client for one job: `timeout` is the limit of each whole exchange (connect to last byte) in seconds.

    `verify` is a TLS context, True for the machine's trusted roots, False for no verification. Requests raise
    AddressRefused, InvalidParameter, TargetError or AgentFault as the guard does, else httpx's own errors; an exchange
    over its limit is httpx.ReadTimeout. Not shared between jobs: a client keeps cookies.
    """
    transport = GuardedTransport(policy, timeout=timeout, verify=verify, resolver=resolver)
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, timeout=timeout)


class GuardedTransport(httpx.AsyncBaseTransport):
    """The transport behind `guarded_client`; redirects, if a caller follows them, are judged hop by hop."""

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        timeout: float,
        verify: ssl.SSLContext | bool = True,
        resolver: Resolver | None = None,
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._inner = httpx.AsyncHTTPTransport(verify=_context(verify), trust_env=False)
        # httpx offers no way to hand a network backend through; the pool does.
        self._inner._pool = httpcore.AsyncConnectionPool(  # noqa: SLF001 - see above
            ssl_context=_context(verify),
            max_connections=10,
            max_keepalive_connections=5,
            keepalive_expiry=5.0,
            network_backend=GuardedBackend(policy, resolver or SystemResolver()),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Judge the URL, then exchange within the limit."""
        parse_target(str(request.url), self._policy)
        deadline = time.monotonic() + self._timeout
        async with _within(deadline, self._timeout, request):
            response = await self._inner.handle_async_request(request)
        response.stream = _DeadlineStream(
            cast("httpx.AsyncByteStream", response.stream), deadline, self._timeout, request
        )
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections for httpcore, to judged literals only."""

    def __init__(self, policy: NetworkPolicy, resolver: Resolver) -> None:
        self._policy = policy
        self._resolver = resolver
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore's, with the name looked up and judged here and never again."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve_and_judge(host, port, self._policy, self._resolver)
                dial = functools.partial(
                    self._plain.connect_tcp, port=port, local_address=local_address, socket_options=socket_options
                )
                address, stream = await first_to_answer(addresses, dial, _discard)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"no connection to {host} within {timeout} s") from None
        try:
            peer = stream.get_extra_info("socket").getpeername()[0]
        except OSError as error:  # reset in the same instant
            await stream.aclose()
            raise httpcore.ConnectError(f"{host} ended the connection at once: {error.strerror}") from None
        if ipaddress.ip_address(peer) != ipaddress.ip_address(address):
            await stream.aclose()
            raise AddressRefused(f"{host} was dialled at {address}, but {peer} answered; nothing was sent")
        return stream

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        """Never: a job names no socket of this machine."""
        raise AddressRefused("unix sockets are refused")

    async def sleep(self, seconds: float) -> None:
        """As httpcore's."""
        await asyncio.sleep(seconds)


class _DeadlineStream(httpx.AsyncByteStream):
    """A response body that must end before the exchange's deadline, however slowly it drips."""

    def __init__(self, inner: httpx.AsyncByteStream, deadline: float, limit: float, request: httpx.Request) -> None:
        self._inner = inner
        self._deadline = deadline
        self._limit = limit
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._inner)
        while True:
            async with _within(self._deadline, self._limit, self._request):
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    return
            yield piece

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextlib.asynccontextmanager
async def _within(deadline: float, limit: float, request: httpx.Request) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout(f"no complete answer within {limit:g} s", request=request) from None


async def _discard(stream: httpcore.AsyncNetworkStream) -> None:
    await stream.aclose()


def _context(verify: ssl.SSLContext | bool) -> ssl.SSLContext:  # noqa: FBT001 - httpx's own parameter, handed on
    if isinstance(verify, ssl.SSLContext):
        return verify
    return system_trust() if verify else no_trust()


@functools.cache
def system_trust() -> ssl.SSLContext:
    """The TLS context with the machine's trusted roots, built once per process: loading them takes tens of ms.

    A machine without a root store (a slim container) gets certifi's.
    """
    paths = ssl.get_default_verify_paths()
    has_roots = bool(paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())))
    context = ssl.create_default_context(cafile=None if has_roots else certifi.where())
    # Python 3.13 on would refuse certificates of private authorities for formalities (a missing key identifier) that
    # 3.11 and every browser accept; who is trusted does not change.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@functools.cache
def no_trust() -> ssl.SSLContext:
    """The TLS context that takes any certificate, where the owner said so."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
