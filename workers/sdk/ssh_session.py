"""Logged in at an SSH server, through a jump host where one is named; every failure in words that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from easyalert.errors import CredentialError, TargetError
from easyalert.host_key_scan import scan_host_keys, what_it_said
from easyalert.host_keys import HostKey
from easyalert.netguard.judge import judge_address
from easyalert.ssh_library import asyncssh
from workers.sdk.context import Context
from workers.sdk.dialing import dial, inside_policy
from workers.sdk.ssh_connection import LogIn, SshConnection, checked
from workers.sdk.ssh_host_keys import Believed, believed
from workers.sdk.steps import Steps
from workers.sdk.stopping import at_the_jobs_limit, time_for

CONNECT_TIMEOUT_S: Final = 15.0
"""For name, connection, key exchange and log-in at one host (contract 3.1)."""
KEEPALIVE_S: Final = 15
KEEPALIVES: Final = 3
"""A peer that does not answer so many of them is gone."""
_LEAVE_S: Final = 0.2


@dataclass(frozen=True)
class Server:
    """Logged in."""

    connection: asyncssh.SSHClientConnection
    at: LogIn
    host_key: str
    """Its fingerprint."""
    checked: bool
    """False: any key would have done (`strictHostKeyChecking`)."""


class _Client(asyncssh.SSHClient):
    """Remembers the key that was refused."""

    def __init__(self) -> None:
        self.shown: HostKey | None = None
        self.met = False
        """Its host key was believed."""

    def begin_auth(self, username: str) -> None:
        """The key exchange is over."""
        del username
        self.met = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Not one of those believed, or it would not be asked about."""
        del host, addr, port
        self.shown = HostKey.read(key.export_public_key().decode())
        return False


@contextlib.asynccontextmanager
async def logged_in(ctx: Context, connection: SshConnection, seconds: float, steps: Steps) -> AsyncIterator[Server]:
    """The server of the connection. Raises CredentialError, TargetError, AddressRefused; what the body raises."""
    target, jump = checked(connection.log_in()), connection.jump()
    _ = target.client_keys  # refused, if it is, before anything is sent anywhere
    async with contextlib.AsyncExitStack() as stack:
        place: Callable[[], Awaitable[dict[str, Any]]] = partial(_socket, ctx, target, seconds)
        if jump is not None:
            jump = checked(jump)
            first = partial(_socket, ctx, jump, seconds)
            before = await stack.enter_async_context(_at(ctx, jump, first, seconds, steps, "jump host "))
            place = partial(_tunnel, ctx, target, before)
        yield await stack.enter_async_context(_at(ctx, target, place, seconds, steps, ""))


async def _socket(ctx: Context, at: LogIn, seconds: float, steps: Steps | None = None) -> dict[str, Any]:
    return {"sock": await dial(ctx, at.host, at.port, timeout=seconds, steps=steps)}


async def _tunnel(ctx: Context, at: LogIn, before: Server, steps: Steps | None = None) -> dict[str, Any]:
    """Through the jump host, which looks names up by itself: of these only literals can be judged here."""
    del steps
    try:
        ipaddress.ip_address(at.host)
    except ValueError:
        pass
    else:
        judge_address(at.host, inside_policy(ctx))
    return {"tunnel": before.connection}


@contextlib.asynccontextmanager
async def _at(
    ctx: Context, at: LogIn, place: Callable[..., Awaitable[dict[str, Any]]], seconds: float, steps: Steps, what: str
) -> AsyncIterator[Server]:
    try:
        async with asyncio.timeout(time_for(ctx, seconds)):
            server = await _logged_in(ctx, at, place, steps, what)
    except TimeoutError:
        if at_the_jobs_limit(ctx):
            raise
        raise TargetError(f"{what}{at.where} did not finish the SSH log-in within {seconds:g} s") from None
    try:
        yield server
    finally:
        server.connection.close()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await server.connection.wait_closed()
        except TimeoutError:
            server.connection.abort()


async def _logged_in(
    ctx: Context, at: LogIn, place: Callable[..., Awaitable[dict[str, Any]]], steps: Steps, what: str
) -> Server:
    opened = await place(steps=steps)
    sock = opened.get("sock")
    client, trust, connection = _Client(), Believed(None, ""), None
    try:
        address = sock.getpeername()[0] if sock is not None else ""
        with steps.step("login", f"{what}{at.username}") as step:
            trust = await believed(ctx, at, address, place)
            connection = await asyncssh.connect(
                at.host, at.port, **opened, **_options(at), known_hosts=trust.known, client_factory=lambda: client
            )
            key = connection.get_server_host_key()
            shown = HostKey.read(key.export_public_key().decode()).fingerprint if key is not None else ""
            unchecked = ", which was not checked" if trust.known is None else ""
            step["detail"] = f"{what}{at.username}, host key {shown}{unchecked}"
    except (asyncssh.Error, OSError, ValueError) as error:
        if isinstance(error, TimeoutError):
            raise
        if trust.pinned and not client.met and not isinstance(error, asyncssh.HostKeyNotVerifiable):
            await _look_again(at, trust, place)
        raise _explained(error, at, trust, client.shown, what) from None
    finally:
        if sock is not None and connection is None:
            sock.close()
    return Server(connection, at, shown, checked=trust.known is not None)


async def _look_again(at: LogIn, trust: Believed, place: Callable[..., Awaitable[dict[str, Any]]]) -> None:
    """A server that has no key of a pinned kind just hangs up. Raises TargetError when it shows others only."""
    shown = await scan_host_keys(at.host, at.port, place)
    if not set(shown) & set(trust.pinned):
        raise trust.refusal(at, shown[0])


def _options(at: LogIn) -> dict[str, Any]:
    """Nothing of this machine's accounts: no configuration, no agent, no identity files, no Kerberos."""
    keys = at.client_keys
    return {
        "config": None,
        "username": at.username,
        "client_keys": keys,
        "password": None if keys else at.password,
        "preferred_auth": "publickey" if keys else "password,keyboard-interactive",
        "agent_path": None,
        "gss_host": None,
        "x509_trusted_certs": None,
        "client_version": "EasyAlertAgent",
        "compression_algs": ["none"],  # a few packets could unfold to all the memory there is
        "keepalive_interval": KEEPALIVE_S,
        "keepalive_count_max": KEEPALIVES,
        "encoding": None,
    }


def _explained(error: Exception, at: LogIn, trust: Believed, shown: HostKey | None, what: str) -> Exception:
    where = f"{what}{at.where}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return trust.refusal(at, shown)
    if isinstance(error, asyncssh.PermissionDenied):
        how = "key" if at.private_key else "password"
        return TargetError(
            f"{where} refused the log-in of {at.username} with this {how}; check 'username' and "
            f"'{'privateKey' if at.private_key else 'password'}' of the connection"
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        return TargetError(f"the jump host did not reach {at.where}: {what_it_said(error)}")
    if isinstance(error, UnicodeError):
        return CredentialError(f"the username or password for {where} holds characters SSH cannot carry")
    return TargetError(f"no SSH log-in at {where}: {what_it_said(error)}")
