"""The tables the judge decides by: our own, because those of Python's `ipaddress` miss ranges and differ by version.

Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses and the RFCs named. An address of no table is
public, if it is IPv4 or lies in 2000::/3 (the only block IANA hands out for global unicast).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Opened(Enum):
    """What opens a range."""

    BY_PRIVATE = "ALLOW_PRIVATE_NETWORK or HTTP_ALLOWED_NETWORKS"
    BY_NETWORK = "HTTP_ALLOWED_NETWORKS"
    NEVER = ""


@dataclass(frozen=True)
class Range:
    """One block that is not the public internet. `what` continues "that is …"."""

    network: Network
    what: str
    opened: Opened


def _v4(network: str, what: str, opened: Opened = Opened.BY_PRIVATE) -> Range:
    return Range(IPv4Network(network), what, opened)


def _v6(network: str, what: str, opened: Opened = Opened.BY_PRIVATE) -> Range:
    return Range(IPv6Network(network), what, opened)


IPV4_RANGES: Final = (
    _v4("0.0.0.0/8", "no destination (RFC 791)", Opened.NEVER),
    _v4("10.0.0.0/8", "a private network (RFC 1918)"),
    _v4("100.64.0.0/10", "a carrier's shared network (RFC 6598)"),
    _v4("127.0.0.0/8", "this machine (loopback)"),
    _v4("169.254.0.0/16", "link-local, where clouds keep their metadata (RFC 3927)", Opened.BY_NETWORK),
    _v4("172.16.0.0/12", "a private network (RFC 1918)"),
    _v4("192.0.0.0/24", "reserved for protocols (RFC 6890)"),
    _v4("192.0.2.0/24", "documentation (RFC 5737)"),
    _v4("192.88.99.0/24", "the former 6to4 relays (RFC 7526)"),
    _v4("192.168.0.0/16", "a private network (RFC 1918)"),
    _v4("198.18.0.0/15", "a benchmarking network (RFC 2544)"),
    _v4("198.51.100.0/24", "documentation (RFC 5737)"),
    _v4("203.0.113.0/24", "documentation (RFC 5737)"),
    _v4("224.0.0.0/4", "multicast", Opened.NEVER),
    _v4("255.255.255.255/32", "broadcast", Opened.NEVER),
    _v4("240.0.0.0/4", "reserved (RFC 1112)"),
)

IPV6_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")

IPV6_RANGES: Final = (
    # inside 2000::/3
    _v6("2001::/23", "reserved for protocols (RFC 2928)"),
    _v6("2001:db8::/32", "documentation (RFC 3849)"),
    _v6("3ffe::/16", "the former 6bone (RFC 3701)"),
    _v6("3fff::/20", "documentation (RFC 9637)"),
    # outside
    _v6("::/128", "no destination", Opened.NEVER),
    _v6("::1/128", "this machine (loopback)"),
    _v6("100::/64", "the discard prefix (RFC 6666)", Opened.NEVER),
    _v6("5f00::/16", "a segment routing network (RFC 9602)", Opened.NEVER),
    _v6("fc00::/7", "a private network (RFC 4193)"),
    _v6("fe80::/10", "link-local (RFC 4291)", Opened.BY_NETWORK),
    _v6("fec0::/10", "site-local (RFC 3879)"),
    _v6("ff00::/8", "multicast", Opened.NEVER),
)

METADATA_ADDRESSES: Final[frozenset[Address]] = frozenset(
    {
        *map(
            IPv4Address,
            (
                "169.254.169.254",  # AWS, Google, Azure, Oracle, OpenStack, DigitalOcean, Hetzner, IBM
                "169.254.170.2",  # AWS: credentials of a task
                "169.254.170.23",  # AWS: credentials of a pod
                "169.254.42.42",  # Scaleway
                "169.254.0.23",  # Tencent
                "100.100.100.200",  # Alibaba
                "168.63.129.16",  # Azure, in public address space
                "192.0.0.192",  # Oracle
            ),
        ),
        *map(
            IPv6Address,
            (
                "fd00:ec2::254",  # AWS
                "fd00:ec2::23",  # AWS: credentials of a pod
                "fd20:ce::254",  # Google
                "fd00:42::42",  # Scaleway
                "fe80::a9fe:a9fe",  # OpenStack
            ),
        ),
    }
)

METADATA_NAMES: Final = frozenset(
    {
        "instance-data",
        "instance-data.ec2.internal",
        "metadata",
        "metadata.azure.internal",
        "metadata.goog",
        "metadata.google.internal",
        "metadata.internal",
        "metadata.tencentyun.com",
    }
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL: Final = IPv6Network("64:ff9b:1::/48")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP_MARKS: Final = frozenset({0x00005EFE, 0x02005EFE})


@dataclass(frozen=True)
class Embedded:
    """The IPv4 addresses inside an IPv6 address. `whole`: they alone decide, the rest is the form's fixed prefix."""

    addresses: tuple[IPv4Address, ...] = ()
    whole: bool = False


def embedded_ipv4(address: IPv6Address) -> Embedded:
    """What a translator or tunnel end would make of `address` (RFC 4291, 6052, 8215, 3056, 4380, 5214, 7915)."""
    bits = int(address)
    if address in _NAT64 or address in _MAPPED or address in _TRANSLATED:
        return Embedded((_low(bits),), whole=True)
    if address in _COMPATIBLE and bits > 1:  # :: and ::1 are addresses of their own
        return Embedded((_low(bits),), whole=True)
    if address in _NAT64_LOCAL:
        return Embedded((_low(bits), *_other_prefix_lengths(bits)), whole=True)
    found: tuple[IPv4Address, ...] = ()
    if bits >> 32 & 0xFFFFFFFF in _ISATAP_MARKS:
        found = (_low(bits),)
    if address in _SIX_TO_FOUR:
        return Embedded((_low(bits >> 80), *found), whole=True)
    if address in _TEREDO:
        return Embedded((_low(bits >> 64), _low(~bits)), whole=True)
    return Embedded(found)


def _low(bits: int) -> IPv4Address:
    return IPv4Address(bits & 0xFFFFFFFF)


def _other_prefix_lengths(bits: int) -> tuple[IPv4Address, ...]:
    """The prefix of a local NAT64 may also end at 48, 56 or 64 bits, with byte 8 left out (RFC 6052, 2.2).

    Which one a network uses cannot be seen. The usual 96 is always read; a reading in 0.0.0.0/8 only says that the
    prefix is longer.
    """
    octets = bits.to_bytes(16, "big")
    readings = (octets[6:8] + octets[9:11], octets[7:8] + octets[9:12], octets[9:13])
    return tuple(IPv4Address(reading) for reading in readings if reading[0])
