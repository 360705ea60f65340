"""Connections to hosts that are named by a connection, for protocols other than http: judged, then dialled.

SSH, WinRM, databases, mail and clusters are inside the network: that is what an agent is for. So private addresses are
open to them without `ALLOW_PRIVATE_NETWORK`; cloud metadata, multicast and what is no destination stay closed, and the
address that was judged is the one that is dialled.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from dataclasses import replace
from functools import partial

from easyalert.errors import AddressRefused, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.racing import first_to_answer
from easyalert.netguard.resolver import resolve_and_judge
from workers.sdk.context import Context
from workers.sdk.steps import Steps


def inside_policy(ctx: Context) -> NetworkPolicy:
    """The agent's rules for addresses, with private networks open."""
    return replace(ctx.network_policy, allow_private=True)


async def judged_addresses(ctx: Context, host: str, port: int, steps: Steps | None = None) -> list[str]:
    """Literals for `host`, best first, each judged. For libraries that take an address beside the name (TLS!).

    Raises AddressRefused, TargetError (no such name), AgentFault (no DNS).
    """
    with (steps or Steps()).step("name", host) as step:
        found = await resolve_and_judge(host, port, inside_policy(ctx))
        step["detail"] = ", ".join(found[:4])
    return found


async def dial(
    ctx: Context,
    host: str,
    port: int,
    *,
    timeout: float,  # noqa: ASYNC109 - its errors name it
    steps: Steps | None = None,
) -> socket.socket:
    """A connected, non-blocking TCP socket to a judged address of `host`. The caller closes it.

    `timeout` seconds for name and connection together. Raises as `judged_addresses`, and TargetError when nothing
    answers, with host and port and what the system said.
    """
    steps = steps or Steps()
    try:
        async with asyncio.timeout(min(timeout, ctx.remaining())):
            addresses = await judged_addresses(ctx, host, port, steps)
            with steps.step("tcp", f"{host}:{port}") as step:
                address, connected = await _any_of(addresses, host, port)
                step["detail"] = f"{address}:{port}" if ":" not in address else f"[{address}]:{port}"
    except TimeoutError:
        if ctx.stopped() == "timed_out":
            raise
        raise TargetError(f"{host}:{port} did not answer within {timeout:g} s (no connection)") from None
    return connected


async def _any_of(addresses: list[str], host: str, port: int) -> tuple[str, socket.socket]:
    try:
        return await first_to_answer(addresses, partial(_connected, port=port), _discard)
    except OSError as error:
        # the event loop puts its own words into `strerror`
        said = os.strerror(error.errno) if error.errno else type(error).__name__
        raise TargetError(f"no connection to {host}:{port}: {said}") from None


async def _connected(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setblocking(False)  # noqa: FBT003 - the standard library's own parameter
    try:
        await asyncio.get_running_loop().sock_connect(made, (address, port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _check_peer(made, address)
    except BaseException:
        made.close()
        raise
    return made


def _check_peer(made: socket.socket, address: str) -> None:
    peer = made.getpeername()[0]
    if ipaddress.ip_address(peer) != ipaddress.ip_address(address):
        raise AddressRefused(f"{address} was dialled, but {peer} answered; nothing was sent")


async def _discard(made: socket.socket) -> None:
    made.close()
