"""WS-Management with one Windows host, by pypsrp, with its sockets, its trust and its time in the agent's hands.

What is replaced is what the library would take from its surroundings: connections are dialled to judged addresses,
proxies and certificates of the environment are ignored, redirects are not followed, an answer has a largest size, and
TLS verifies. Where messages have to be encrypted (HTTP), an answer in clear text is refused: who sits on the path could
have written it.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import requests
import spnego
import urllib3
from pypsrp.exceptions import WinRMTransportError, WSManFaultError
from pypsrp.negotiate import HTTPNegotiateAuth
from pypsrp.wsman import WSMan, WSManAction
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from easyalert import __version__
from easyalert.errors import EasyAlertError, TargetError
from easyalert.netguard.target import check_host
from workers.sdk.blocking import Blocking, Ended
from workers.sdk.context import Context
from workers.sdk.tls import tls_context, tls_failure
from workers.sdk.winrm_connection import WinrmConnection

ANSWER_MAX_BYTES: Final = 8_388_608
"""Of one answer; the protocol asks for 150 KiB at most."""
OPERATION_S: Final = 25
"""After this the host says that there is nothing to say, and is asked again (contract 3.11)."""
READ_S: Final = 30
ACCESS_DENIED: Final = 5
_SAID_MAX_CHARS: Final = 300

# theirs hold messages with scripts and tokens, and what pypsrp calls an error is told in the result
for _logger, _level in (("pypsrp", logging.CRITICAL), ("spnego", logging.WARNING), ("urllib3", logging.WARNING)):
    logging.getLogger(_logger).setLevel(_level)

T = TypeVar("T")


class WsmanFault(TargetError):  # noqa: N818 - the protocol's own word
    """The host's service has answered with a fault. `code` is Microsoft's, or the SOAP code where there is none."""

    def __init__(self, message: str, code: int | str | None) -> None:
        super().__init__(message)
        self.code = code


class LoginRefused(TargetError):  # noqa: N818 - as in easyalert.errors
    """The host does not know who that is, or does not take this way to log in."""


class WinrmSession(Blocking):
    """One job's connections to one host. Its `wsman` is used in threads, within `call`."""

    def __init__(
        self, ctx: Context, connection: WinrmConnection, limit_s: float, *, while_cancelled: bool = False
    ) -> None:
        """`limit_s`: for all requests together. Raises AddressRefused, CredentialError."""
        host, port = check_host(connection.host.strip()), connection.on_port
        super().__init__(ctx, host, port, limit_s, name="winrm", while_cancelled=while_cancelled)
        self.where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.host = host
        self.connection = connection
        self.logged_in = False
        self._offered = ""
        self._status = 0
        self._last: requests.Response | None = None
        self.since = time.monotonic()
        """When the step began that is under way: the login, then what comes after it."""
        self._encrypted = not connection.use_ssl and connection.transport != "basic"
        self.wsman = _Wsman(
            host,
            port=port,
            username=connection.username,
            password=connection.password,
            ssl=connection.use_ssl,
            auth=connection.transport,
            encryption="auto" if self._encrypted else "never",
            no_proxy=True,
            operation_timeout=OPERATION_S,
            connection_timeout=READ_S,
            read_timeout=READ_S,
            reconnection_backoff=0.0,
        )
        self._http = self._session(ctx)
        self.wsman.transport.session = self._http

    def _session(self, ctx: Context) -> requests.Session:
        trust = self.connection
        tls = (
            tls_context(trust.ca_certificate, verify=trust.verify_tls, connection_id=ctx.connection_id)
            if trust.use_ssl
            else None
        )
        if not trust.verify_tls:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the test of the connection says it
        session = requests.Session()
        session.trust_env = False
        session.headers.update({"User-Agent": f"easyalert-agent/{__version__}", "Accept-Encoding": "identity"})
        session.auth = self._login()
        session.adapters.clear()
        session.mount("https://" if trust.use_ssl else "http://", _Adapter(self, tls))
        return session

    def _login(self) -> AuthBase:
        name, password = self.connection.username, self.connection.password
        if self.connection.transport == "basic":
            return HTTPBasicAuth(name.encode(), password.encode())
        return _Negotiation(
            name, password, auth_provider=self.connection.transport, wrap_required=self._encrypted, where=self.where
        )

    def close(self) -> None:
        """Let its idle connections go, and the one whose answer nobody has read."""
        if self._last is not None:
            self._last.close()
        self._http.close()

    def call(self, work: Callable[[], T]) -> T:
        """What `work` returns, which uses `wsman`.

        Raises WsmanFault, LoginRefused, TargetError, AddressRefused, Ended.
        """
        self.check()
        try:
            return work()
        except (EasyAlertError, Ended):
            raise
        except Exception as error:  # noqa: BLE001 - a broken answer makes the library raise anything
            self.check()
            raise self._explained(error) from None

    def _explained(self, error: Exception) -> TargetError:
        where = self.where
        if not self.logged_in and self._status == 401 and not isinstance(error, OSError):
            return self._refused()
        if isinstance(error, WSManFaultError) and error.code is not None:
            return _fault(error, where)
        if isinstance(error, WinRMTransportError | WSManFaultError):  # a page of some other server is no fault
            return TargetError(f"{where} answered with HTTP status {self._status}{_HINTS.get(self._status, '')}")
        if isinstance(error, requests.ConnectionError | requests.Timeout | urllib3.exceptions.HTTPError | OSError):
            hint = "" if self.logged_in or self.connection.use_ssl else "; if it expects TLS there, set 'useSsl'"
            silent = isinstance(error, requests.Timeout)
            return TargetError(
                f"{where} did not answer within {self.wsman.transport.read_timeout} s"
                if silent
                else f"the connection to {where} broke off{hint}"
            )
        return TargetError(f"{where} answered with what is no WS-Management ({type(error).__name__})")

    def _refused(self) -> LoginRefused:
        transport, offered = self.connection.transport, _schemes(self._offered)
        wanted = {"basic"} if transport == "basic" else {transport, "negotiate"}
        if offered and not wanted & {scheme.lower() for scheme in offered}:
            return LoginRefused(
                f"{self.where} offers no login by {transport}, only by {', '.join(offered)}; change the connection's "
                "'transport', or the service's settings there"
            )
        return LoginRefused(
            f"{self.where} refused the login of {self.connection.username} by {transport}; check the connection's "
            "username and password, and that this account may log in remotely"
        )

    # ---- from the connections ---------------------------------------------------------------------------------------

    def opened(self, tls_version: str | None, began: float) -> None:
        """A connection has come about. `began`: when TLS did, monotonic."""
        self.since = time.monotonic()
        if tls_version:
            trusted = "certificate checked" if self.connection.verify_tls else "certificate NOT checked (verifyTls)"
            self.steps.passed("tls", self.since - began, f"{tls_version}, {trusted}")

    def answered(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        """Judge an answer before the library has it, and read its body. Raises TargetError."""
        self._last = response
        if 300 <= response.status_code < 400:
            raise self._drop(response, "answered with a redirect, which is not followed")
        length, self._status = response.headers.get("Content-Length", ""), response.status_code
        if response.status_code == 401:
            self._offered = response.headers.get("WWW-Authenticate", "")
            if length == "0":  # the library reads it, and binds the login to this connection's certificate
                return
        elif not self.logged_in:
            self.logged_in = True
            now = time.monotonic()
            self.steps.passed("login", now - self.since, self.connection.username)
            self.since = now
        was_encrypted = str(request.headers.get("Content-Type", "")).startswith("multipart/encrypted")
        is_encrypted = response.headers.get("Content-Type", "").startswith("multipart/encrypted")
        if was_encrypted and not is_encrypted and (response.status_code == 200 or response.status_code >= 500):
            raise self._drop(response, "answered an encrypted message in clear text; the answer was not used")
        body = response.raw.read(ANSWER_MAX_BYTES + 1, decode_content=False)
        if len(body) > ANSWER_MAX_BYTES:
            raise self._drop(response, f"sent more than {ANSWER_MAX_BYTES} bytes in one answer; given up")
        response._content = body  # noqa: SLF001 - requests would read it without a limit, and unpack it
        response._content_consumed = True  # noqa: SLF001 - as above

    def _drop(self, response: requests.Response, what: str) -> TargetError:
        response.close()
        return TargetError(f"{self.where} {what}")


class _Wsman(WSMan):
    """Asks for output once. The library would repeat that after a silence, by itself and on a new connection."""

    def receive(
        self,
        resource_uri: str,
        resource: ET.Element,
        option_set: Any = None,
        selector_set: Any = None,
        timeout: int | None = None,
    ) -> ET.Element:
        answer = self.invoke(WSManAction.RECEIVE, resource_uri, resource, option_set, selector_set, timeout)
        body = answer.find("{http://www.w3.org/2003/05/soap-envelope}Body")
        return ET.Element("Body") if body is None else body


class _Negotiation(HTTPNegotiateAuth):
    """Refuses a login after which nothing could be encrypted, where that is needed."""

    def __init__(self, *args: Any, where: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._where = where

    def handle_401(self, response: requests.Response, **kwargs: Any) -> requests.Response:
        answer: requests.Response = super().handle_401(response, **kwargs)  # type: ignore[no-untyped-call]
        needed = spnego.ContextReq.confidentiality | spnego.ContextReq.integrity
        if self.wrap_required and answer.status_code != 401:
            for context in self.contexts.values():
                if context.context_attr & needed != needed:
                    raise TargetError(f"{self._where} takes no encrypted messages, so nothing was sent; set 'useSsl'")
        return answer


class _Adapter(HTTPAdapter):
    """One connection, made by the session, under the session's trust."""

    def __init__(self, session: WinrmSession, tls: ssl.SSLContext | None) -> None:
        self._session = session
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=urllib3.Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        plain = type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": staticmethod(partial(_Plain, self._session))})
        tls = type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": staticmethod(partial(_Tls, self._session))})
        self.poolmanager.pool_classes_by_scheme = {"http": plain, "https": tls}

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls} if self._tls else {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: requests would add the roots it brings along."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = super().send(request, *args, **{**kwargs, "stream": True})
        self._session.answered(request, response)
        return response


class _Plain(HTTPConnection):
    def __init__(self, session: WinrmSession, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session = session

    def _new_conn(self) -> socket.socket:
        made = self._session.connected()
        self._session.opened(None, 0.0)
        return made


class _Tls(HTTPSConnection):
    def __init__(self, session: WinrmSession, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._session = session

    def _new_conn(self) -> socket.socket:
        made = self._session.connected()
        self._began = time.monotonic()
        return made

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, urllib3.exceptions.HTTPError) as error:
            self._session.check()
            with self._session.steps.step("tls"):
                raise _tls_problem(error, self._session.where) from None
        version = self.sock.version() if isinstance(self.sock, ssl.SSLSocket) else None
        self._session.opened(version, self._began)


_HINTS: Final = {
    403: ": it forbids that",
    404: ": there is no WinRM service at /wsman",
    503: ": its WinRM service is not running, or busy",
}


def _tls_problem(error: Exception, where: str) -> TargetError:
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, ssl.SSLError):
        inner = inner.__cause__ or inner.__context__
    if inner is None:
        return TargetError(f"{where} ended the connection instead of speaking TLS; is 'useSsl' right?")
    return tls_failure(inner, where)


def _fault(error: WSManFaultError, where: str) -> WsmanFault:
    said = error.provider_fault or error.reason or "no reason given"
    said = "".join(char if char.isprintable() else " " for char in str(said))
    said = " ".join(said.split())
    if len(said) > _SAID_MAX_CHARS:
        said = f"{said[:_SAID_MAX_CHARS]}..."
    if error.code == ACCESS_DENIED:
        return WsmanFault(
            f"{where} denied access: the login is right, but the account may not run commands there (it has to be an "
            "administrator, or in Remote Management Users with access to the shell)",
            error.code,
        )
    return WsmanFault(f"{where} answered with the fault {error.code}: {said}", error.code)


def _schemes(offered: str) -> list[str]:
    return re.findall(r"(?:^|,)\s*(Negotiate|Kerberos|NTLM|Basic|CredSSP|Digest)\b", offered[:2_000], re.IGNORECASE)
