"""Looking a name up once, and judging every address of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeVar, cast

from easyalert.errors import AddressRefused, AgentFault, TargetError
from easyalert.netguard.judge import NetworkPolicy, judge_address
from easyalert.netguard.target import check_host

T = TypeVar("T")

_TCP: Final = socket.IPPROTO_TCP


class Resolver(Protocol):
    """Turns a name into address literals, best first."""

    async def lookup(self, host: str, port: int) -> list[str]:
        """All addresses of `host`. Raises TargetError when there are none, AgentFault when nobody could be asked."""
        ...


class SystemResolver:
    """The machine's own resolver (hosts file, DNS), in a thread of its own for each look-up.

    No pool: a look-up cannot be stopped, and while no name server answers it takes half a minute. Whoever waits gives
    up sooner, and the next one must neither wait for a free thread nor the process for the thread's end.
    """

    async def lookup(self, host: str, port: int) -> list[str]:
        """As `Resolver.lookup`; TCP only, each address once."""
        try:
            answer = await _in_own_thread(partial(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM, _TCP))
        except socket.gaierror as error:
            if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}:
                raise TargetError(f"the name {host} does not exist (DNS)") from None
            raise AgentFault(f"the name {host} could not be looked up on this agent (DNS): {error.strerror}") from None
        except UnicodeError:
            raise AddressRefused(f"the host {host!r} is refused: it is no host name") from None
        return list(dict.fromkeys(str(item[4][0]) for item in answer))


async def _in_own_thread(call: Callable[[], T]) -> T:
    """What `call` returns or raises; its thread is left alone when the caller gives up."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(outcome: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(cast("T", outcome))
        else:
            done.set_exception(error)

    def work() -> None:
        outcome: T | None = None
        problem: BaseException | None = None
        try:
            outcome = call()
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(settle, outcome, problem)

    threading.Thread(target=work, name="look-up", daemon=True).start()
    return await done


async def resolve_and_judge(host: str, port: int, policy: NetworkPolicy, resolver: Resolver | None = None) -> list[str]:
    """The addresses of `host` that may be dialled, best first; never empty.

    One look-up, every address judged: a single refused one refuses the name, else its owner could wait until that one
    is picked. What is dialled must be taken from this list, not looked up again. An origin of `exempt_origins` is
    looked up but not judged. Raises AddressRefused, TargetError (no such name), AgentFault (no answer from DNS).
    """
    name = check_host(host)
    exempt = _exempt(name, port, policy)
    try:
        addresses = [str(ipaddress.ip_address(name))]
    except ValueError:
        addresses = await (resolver or SystemResolver()).lookup(name, port)
    if not addresses:
        raise TargetError(f"the name {name} has no address (DNS)")
    for address in addresses if not exempt else ():
        try:
            judge_address(address, policy)
        except AddressRefused as refusal:
            if address == name:
                raise
            raise AddressRefused(f"{name} is refused: {refusal}") from None
    return addresses


def _exempt(host: str, port: int, policy: NetworkPolicy) -> bool:
    shown = f"[{host}]" if ":" in host else host
    origins = {f"{scheme}://{shown}:{port}" for scheme in ("http", "https")}
    if port in {80, 443}:
        origins.add(f"http://{shown}" if port == 80 else f"https://{shown}")
    return not origins.isdisjoint(policy.exempt_origins)
