"""Which network addresses a job may reach."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from easyalert.errors import AddressRefused
from easyalert.netguard.ranges import (
    IPV4_RANGES,
    IPV6_GLOBAL_UNICAST,
    IPV6_RANGES,
    METADATA_ADDRESSES,
    Address,
    Opened,
    embedded_ipv4,
)

_OUTSIDE_GLOBAL_UNICAST: Final = "outside the public range 2000::/3"


@dataclass(frozen=True)
class NetworkPolicy:
    """The rules of the agent's owner.

    `allow_private` opens private networks and this machine itself (`ALLOW_PRIVATE_NETWORK`), `allowed_networks` the
    given ones (`HTTP_ALLOWED_NETWORKS`); neither opens cloud metadata, multicast or addresses that are no destination.
    `exempt_origins` (`https://proxy.example:3128`, the port may be left out when it is the scheme's) are not judged at
    all: what the owner configured, never what a job names.
    """

    allow_private: bool = False
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    exempt_origins: frozenset[str] = frozenset()


def judge_address(address: str, policy: NetworkPolicy) -> None:
    """Return when `address`, a literal, may be dialled.

    An IPv4 address inside an IPv6 one is judged as if it were given plainly. Raises AddressRefused with a sentence that
    names the address and the rule; no literal, or one with a zone (`fe80::1%eth0`), is refused too.
    """
    outer = _literal(address)
    faces = _faces(outer)
    for face in faces:
        if face in METADATA_ADDRESSES:
            raise AddressRefused(f"{_shown(outer, face)} a cloud's metadata service; no setting opens it")
    if _in_allowed(outer, policy) and not any(_never(face) for face in faces):
        return
    for face in faces:
        _judge_face(outer, face, policy)


def _literal(address: str) -> Address:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise AddressRefused(f"{address!r} is no network address") from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise AddressRefused(f"{address!r} names a network interface (zone); that is this machine's own link")
    return parsed


def _faces(outer: Address) -> tuple[Address, ...]:
    """Every address that decides about `outer`."""
    if isinstance(outer, IPv4Address):
        return (outer,)
    inner = embedded_ipv4(outer)
    return inner.addresses if inner.whole else (outer, *inner.addresses)


def _judge_face(outer: Address, face: Address, policy: NetworkPolicy) -> None:
    found = _range_of(face)
    if found is None:
        return
    what, opened = found
    if opened is Opened.NEVER:
        raise AddressRefused(f"{_shown(outer, face)} {what}; no setting opens it")
    if _in_allowed(face, policy) or (opened is Opened.BY_PRIVATE and policy.allow_private):
        return
    raise AddressRefused(f"{_shown(outer, face)} {what}; the owner of this agent can open it ({opened.value})")


def _range_of(face: Address) -> tuple[str, Opened] | None:
    """What `face` is, and what opens it; None for a public address."""
    for block in IPV4_RANGES if isinstance(face, IPv4Address) else IPV6_RANGES:
        if face in block.network:
            return f"{block.what}, {block.network}", block.opened
    if isinstance(face, IPv6Address) and face not in IPV6_GLOBAL_UNICAST:
        return _OUTSIDE_GLOBAL_UNICAST, Opened.NEVER
    return None


def _never(face: Address) -> bool:
    found = _range_of(face)
    return found is not None and found[1] is Opened.NEVER


def _in_allowed(address: Address, policy: NetworkPolicy) -> bool:
    return any(address in network for network in policy.allowed_networks)


def _shown(outer: Address, face: Address) -> str:
    return (
        f"the address {outer} is refused:" if outer == face else f"the address {outer} is refused: it leads to {face},"
    )
