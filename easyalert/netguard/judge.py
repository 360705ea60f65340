"""Which network addresses a job may reach."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True)
class NetworkPolicy:
    """The owner's rules."""

    allow_private: bool = False
    allowed_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    exempt_origins: frozenset[str] = frozenset()
