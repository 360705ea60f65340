"""Reading a URL strictly: what two parsers could understand differently is refused, not guessed."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import idna

from easyalert.errors import AddressRefused, InvalidParameter
from easyalert.netguard.judge import NetworkPolicy, judge_address
from easyalert.netguard.ranges import METADATA_NAMES

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
URL_MAX_CHARS: Final = 16_384

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_AUTHORITY: Final = re.compile(r"[^/?#]*")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Control characters, space, and the backslash that browsers take for a slash.
_NOT_IN_URLS: Final = re.compile(r"[\x00-\x20\x7f-\x9f\\\u2028\u2029]")


@dataclass(frozen=True)
class Target:
    """A URL, read. `host` is a name in lower-case ASCII or an address literal (IPv6 without brackets)."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query as written, at least `/`; the fragment is dropped."""

    @property
    def origin(self) -> str:
        """`https://host:443`: always with the port, in lower case, so that two origins compare as text (RFC 6454)."""
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def short_origin(self) -> str:
        """`origin` as people write it: without the scheme's own port."""
        return f"{self.scheme}://{self._bracketed}" if self.port == DEFAULT_PORTS[self.scheme] else self.origin

    @property
    def url(self) -> str:
        """The whole URL, normalised as far as the origin goes."""
        return self.short_origin + self.path

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def exempt(self, policy: NetworkPolicy) -> bool:
        """Whether the owner configured this origin, so that it is not judged."""
        return not policy.exempt_origins.isdisjoint((self.origin, self.short_origin))


def parse_target(url: str, policy: NetworkPolicy, *, parameter: str = "url") -> Target:
    """Read an http or https URL; a literal address in it, or a known metadata name, is judged at once.

    Raises InvalidParameter (naming `parameter`) for what is no URL, AddressRefused for a host that `check_host` or the
    judge refuses and for user-info. A name is not looked up here.
    """
    target = _read(url, parameter)
    if target.exempt(policy):
        return target
    if _is_literal(target.host):
        judge_address(target.host, policy)
    return target


def check_host(host: str) -> str:
    """`host`, a name or literal, in its one accepted form: lower case, ASCII, no trailing dot.

    Raises AddressRefused for what a resolver might take for an address although it is no strict literal (`127.1`,
    `0x7f000001`, `2130706433`, `010.0.0.1`, full-width digits), for names of metadata services, and for anything that
    is no host name (`%`, `@`, spaces, empty or overlong labels).
    """
    if _is_literal(host):
        return str(ipaddress.ip_address(host))
    name = _ascii(host).lower()
    labels = name.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise AddressRefused(f"the host {host!r} is refused: it ends in a number but is no plain IPv4 address")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefused(f"the host {host!r} is refused: it is no host name")
    name = ".".join(labels)
    if name in METADATA_NAMES:
        raise AddressRefused(f"the host {host!r} is refused: it is a cloud's metadata service; no setting opens it")
    return name


def _read(url: str, parameter: str) -> Target:
    if len(url) > URL_MAX_CHARS:
        raise InvalidParameter(parameter, f"is longer than {URL_MAX_CHARS} characters")
    if _NOT_IN_URLS.search(url):
        raise InvalidParameter(
            parameter, "holds a space, a backslash or a control character; write them as %20, %5C, …"
        )
    scheme = _SCHEME.match(url)
    if not scheme or scheme[1].lower() not in DEFAULT_PORTS:
        raise InvalidParameter(parameter, "must start with http:// or https://")
    authority = _AUTHORITY.match(url, scheme.end())
    name = authority[0] if authority else ""
    if "@" in name:
        raise AddressRefused("a URL with a user name or password in it is refused; put them into the credential")
    host, port = _split_port(name, parameter)
    path = url[scheme.end() + len(name) :].partition("#")[0]
    return Target(
        scheme=scheme[1].lower(),
        host=host,
        port=port or DEFAULT_PORTS[scheme[1].lower()],
        path=path if path.startswith("/") else f"/{path}",
    )


def _split_port(authority: str, parameter: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        host, closed, rest = authority[1:].partition("]")
        if not closed or not _is_ipv6(host):
            raise AddressRefused(f"the host {authority!r} is refused: it is no plain IPv6 address in brackets")
        colon, port = rest[:1], rest[1:]
        if rest and colon != ":":
            raise InvalidParameter(parameter, "has text between the address and the port")
    else:
        host, colon, port = authority.partition(":")
    if not host:
        raise InvalidParameter(parameter, "names no host")
    if not colon:
        return check_host(host), None
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= 65535:
        raise InvalidParameter(parameter, "has a port that is no number from 1 to 65535")
    return check_host(host), int(port)


def _ascii(host: str) -> str:
    """A name in another script in its ASCII form, by strict IDNA 2008: look-alike digits and dots are no letters."""
    if host.isascii():
        return host
    refusal = AddressRefused(f"the host {host!r} is refused: it holds characters no host name has")
    if unicodedata.normalize("NFKC", host) != host or "\u3002" in host:  # look-alikes of ASCII, ideographic dots
        raise refusal
    try:
        return idna.encode(host.lower()).decode("ascii")
    except idna.IDNAError:
        raise refusal from None


def _is_literal(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return _is_ipv6(host)
    return True


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False
