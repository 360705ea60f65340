"""Asking an SSH server for its host keys. Nothing but the key exchange happens: no name, no credential is sent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from easyalert.errors import TargetError
from easyalert.host_keys import HostKey, host_name
from easyalert.ssh_library import asyncssh

KEY_KINDS: Final = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256"),
)
"""One look each: a server shows one key a time, of the kind it is asked for."""

Dialled = Callable[[], Awaitable[dict[str, Any]]]
"""Where to look, anew for each look: `{"sock": socket}`, or `{"tunnel": connection}` through another host."""


async def scan_host_keys(host: str, port: int, dialled: Dialled) -> list[HostKey]:
    """The server's host keys, each of whose private halves it has proved to hold, best kind first; never empty.

    Raises TargetError when there are none, and what `dialled` raises.
    """
    found: list[HostKey] = []
    said = "it shows no host key of a kind this agent takes"
    for kinds in KEY_KINDS:
        place = await dialled()
        try:
            key = await asyncssh.get_server_host_key(host, port, **place, server_host_key_algs=list(kinds), config=None)
        except asyncssh.KeyExchangeFailed:
            continue  # it has none of that kind
        except (asyncssh.Error, OSError) as error:
            said = what_it_said(error)  # OpenSSH hangs up when it has none of that kind
            continue
        finally:
            _close(place)
        if key is not None:
            found.append(HostKey.read(key.export_public_key().decode()))
    if not found:
        raise TargetError(f"no host key of {host_name(host, port)}: {said}")
    return found


def what_it_said(error: Exception) -> str:
    """A connection's failure in words; of the server's own text only what can be printed, and not much."""
    if isinstance(error, asyncssh.ConnectionLost | ConnectionError | EOFError):
        return "it ended the connection"
    if isinstance(error, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported):
        return "what answers there does not speak SSH 2"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it did not answer in time"
    reason = error.reason if isinstance(error, asyncssh.Error) else type(error).__name__
    text = "".join(char if char.isprintable() else " " for char in str(reason))
    return " ".join(text.split())[:200] or type(error).__name__


def _close(place: dict[str, Any]) -> None:
    sock = place.get("sock")
    if isinstance(sock, socket.socket):
        sock.close()
