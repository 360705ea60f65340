"""A cluster's API through the official client, with its sockets, its trust and its time in the agent's hands.

The client is `kubernetes.client.ApiClient`. What is replaced is what it would take from its surroundings: connections
are dialled to judged addresses (`workers.sdk.dialing`), proxies of the environment and redirects are not followed, and
TLS is a context in memory. A client certificate, which OpenSSL reads from files only, is handed over in a file
that exists in memory alone (memfd) and never on a disk.

The client blocks, so it runs as `workers.sdk.blocking` has it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from easyalert import __version__
from easyalert.errors import CredentialError, TargetError
from easyalert.kubeconfig import ClusterAccess
from easyalert.netguard.target import Target, parse_target
from easyalert.netguard.transport import system_trust
from workers.sdk.blocking import Blocking, Ended
from workers.sdk.context import Context
from workers.sdk.dialing import inside_policy
from workers.sdk.kubernetes_answers import answer_error
from workers.sdk.tls import load_own_certificate

ANSWER_MAX_BYTES: Final = 33_554_432
"""Of one answer that is read as a whole: a page of objects, a status."""
_TRIES: Final = 4
_PAUSE_MAX_S: Final = 15.0
_AUTH: Final = ["BearerToken"]


class Cluster(Blocking):
    """One job's connections to one API server. Everything but `run` is called in threads, and blocks."""

    def __init__(self, ctx: Context, access: ClusterAccess, limit_s: float) -> None:
        """`limit_s`: for all requests together."""
        self.access = access
        self.target: Target = _server(access, ctx)
        super().__init__(ctx, self.target.host, self.target.port, limit_s, name="kubernetes")
        self._client = _client(access, self.target, partial(_JudgedConnection, self))

    def close(self) -> None:
        """Let its idle connections go."""
        self._client.rest_client.close()

    def get(self, path: str, *query: tuple[str, str], accept: str = "application/json") -> dict[str, Any]:
        """The object at `path`. Raises ApiError for the server's refusals, TargetError for anything else, Ended."""
        return self.call("GET", path, *query, accept=accept)

    def call(
        self,
        method: str,
        path: str,
        *query: tuple[str, str],
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        repeat: bool | None = None,
    ) -> dict[str, Any]:
        """One request, its answer as JSON.

        A request that the server turned away unread (429) is made again after the pause it asks for, at most three
        times; one that only reads, or with `repeat`, also after 409, 500, 503 and 504.
        """
        again = {429, *((409, 500, 503, 504) if repeat or (repeat is None and method == "GET") else ())}
        for attempt in range(_TRIES):
            response = self._send(method, path, query, body, content_type, accept)
            text = self._whole(response)
            if 200 <= response.status < 300:
                return read_object(text, self.target.short_origin)
            error = answer_error(response.status, text, response.headers)
            if response.status not in again or attempt == _TRIES - 1 or error.field_conflict:
                raise error
            pause = error.retry_after if error.retry_after is not None else 0.2 * 2**attempt
            if pause > min(_PAUSE_MAX_S, self.remaining()):
                raise error
            self.pause(pause)
        raise AssertionError  # the last attempt returns or raises

    @contextlib.contextmanager
    def streamed(self, path: str, *query: tuple[str, str]) -> Iterator[Iterator[bytes]]:
        """The pieces of a long answer (log, watch) as they come. Raises as `get`; a stream that is cut: TargetError."""
        response = self._send("GET", path, query, None, "", "*/*")
        if not 200 <= response.status < 300:
            raise answer_error(response.status, self._whole(response), response.headers)
        try:
            yield self._pieces(response)
        finally:
            response.close()

    def _pieces(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            while piece := response.read1(65_536):
                yield piece
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self._explained(error) from None
        self.check()

    def _send(
        self, method: str, path: str, query: tuple[tuple[str, str], ...], body: Any, content_type: str, accept: str
    ) -> urllib3.BaseHTTPResponse:
        self.check()
        headers = {"Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
        request = self._client.param_serialize(
            method, path, query_params=list(query), header_params=headers, body=body, auth_settings=_AUTH
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=max(0.001, self.remaining()))
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._explained(error) from None
        response: urllib3.BaseHTTPResponse = answer.response
        return response

    def _whole(self, response: urllib3.BaseHTTPResponse) -> bytes:
        read = bytearray()
        try:
            for piece in self._pieces(response):
                read += piece
                if len(read) > ANSWER_MAX_BYTES:
                    break
        except BaseException:
            response.close()
            raise
        if len(read) > ANSWER_MAX_BYTES:
            response.close()
            raise TargetError(f"{self.target.short_origin} sent more than {ANSWER_MAX_BYTES} bytes; given up")
        response.release_conn()
        return bytes(read)

    def _explained(self, error: Exception) -> Exception:
        if self._why or (isinstance(error, urllib3.exceptions.TimeoutError) and not self.remaining()):
            return Ended(self._why or "timed_out")
        if isinstance(error, ApiException):  # the client's word for a TLS error after the handshake
            return TargetError(
                f"{self.target.short_origin} ended the TLS connection; does it accept the client certificate?"
            )
        return TargetError(f"the connection to {self.target.short_origin} broke off ({type(error).__name__})")

    def trusts(self) -> str:
        """How the server's certificate is checked, for people."""
        if self.access.insecure:
            return "the certificate is NOT checked: the kubeconfig says insecure-skip-tls-verify"
        return "certificate checked against " + (
            "the kubeconfig's authority" if self.access.authority else "the system's authorities"
        )


class _JudgedConnection(HTTPSConnection):
    """Gets its socket from the cluster, and its TLS errors translated."""

    def __init__(self, cluster: Cluster, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cluster = cluster

    def _new_conn(self) -> socket.socket:
        made = self._cluster.connected()
        self._began = time.monotonic()
        return made

    def connect(self) -> None:
        cluster, name = self._cluster, self._cluster.access.tls_name or self.host
        try:
            super().connect()
        except (ssl.SSLError, urllib3.exceptions.SSLError, OSError, urllib3.exceptions.HTTPError) as error:
            with cluster.steps.step("tls"):
                raise _tls_problem(error, name, cluster) from None
        version = self.sock.version() if isinstance(self.sock, ssl.SSLSocket) else None
        cluster.steps.passed("tls", time.monotonic() - self._began, f"{version}, {cluster.trusts()}")


def _tls_problem(error: Exception, name: str, cluster: Cluster) -> TargetError:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ssl.SSLError):
        inner = inner.__cause__ or inner.__context__
    if isinstance(inner, ssl.SSLCertVerificationError):
        return TargetError(
            f"the certificate of {cluster.target.short_origin} is not that of {name}: {inner.verify_message}"
        )
    reason = inner.reason if isinstance(inner, ssl.SSLError) and inner.reason else type(inner or error).__name__
    return TargetError(f"no TLS connection to {cluster.target.short_origin}: {reason}")


class _DirectPool(urllib3.PoolManager):
    """Neither follows redirects nor repeats: the first would carry the token elsewhere, the second acts twice."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> urllib3.BaseHTTPResponse:  # type: ignore[override]  # noqa: ARG002, FBT001, FBT002 - urllib3's own signature
        return super().urlopen(method, url, redirect=False, **{**kw, "retries": False})


def _server(access: ClusterAccess, ctx: Context) -> Target:
    target = parse_target(access.server, inside_policy(ctx), parameter="kubeconfig.server")
    if "?" in target.path:
        raise CredentialError("the kubeconfig's 'server' holds a query")
    return target


def _client(access: ClusterAccess, target: Target, connection: Callable[..., HTTPSConnection]) -> ApiClient:
    configuration = Configuration(host=target.short_origin + target.path.rstrip("/"), proxy="", no_proxy="")
    headers = (
        urllib3.util.make_headers(basic_auth=f"{access.username}:{access.password or ''}") if access.username else {}
    )
    authorization = f"Bearer {access.token}" if access.token else headers.get("authorization")
    if authorization:
        configuration.api_key["authorization"] = authorization
    client = ApiClient(configuration)
    client.user_agent = f"easyalert-agent/{__version__}"
    if access.impersonate:
        client.default_headers["Impersonate-User"] = access.impersonate
    manager = _DirectPool(
        ssl_context=_tls(access), server_hostname=access.tls_name, assert_hostname=None, maxsize=8, block=False
    )
    pool = type("_JudgedPool", (HTTPSConnectionPool,), {"ConnectionCls": staticmethod(connection)})
    manager.pool_classes_by_scheme = {"https": pool}
    client.rest_client.pool_manager = manager
    return client


def _tls(access: ClusterAccess) -> ssl.SSLContext:
    try:
        context = (
            ssl.create_default_context(cadata=access.authority) if access.authority else system_trust.__wrapped__()
        )
    except ssl.SSLError:
        raise CredentialError("the kubeconfig's certificate-authority-data holds no certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags &= (
        ~ssl.VERIFY_X509_STRICT
    )  # as `system_trust`: clusters' own authorities leave formalities out
    if access.insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the test of the connection says it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate and access.key:
        try:
            load_own_certificate(context, access.certificate, access.key)
        except (ssl.SSLError, ValueError):
            raise CredentialError("the kubeconfig's client certificate and key do not belong together") from None
    return context


def read_object(text: bytes, place: str) -> dict[str, Any]:
    """A JSON object that `place` sent. Raises TargetError."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TargetError(f"{place} answered with what is no JSON object; is it a Kubernetes API?")
    return found
