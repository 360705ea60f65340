"""Where jobs go, and how rules name that: networks, hosts, and beginnings of URLs.

A name is never looked up: it may point somewhere else by the time the job runs. So a network covers literal addresses
only, and a host given by name has to be allowed by name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from easyalert.errors import EasyAlertError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import check_host, parse_target

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DISGUISED: Final = re.compile(r"%(?:2e|2f|5c|25)", re.IGNORECASE)
"""Escapes that one reader takes for `.`, `/`, `\\` or `%` and another does not."""
# The judge of addresses does its own work when the connection is made; here only the words are read.
_ANY: Final = NetworkPolicy(allow_private=True)


class Unreadable(Exception):  # noqa: N818 - not an error of ours: what the job's address is
    """Where a job goes cannot be told; the sentence says why."""


@dataclass(frozen=True)
class Place:
    """One address a job names. `scheme`, `port` and `path` are None where the kind of action has no URLs."""

    host: str
    scheme: str | None = None
    port: int | None = None
    path: str | None = None
    """With the query."""

    def __str__(self) -> str:
        # without path and query: they may hold secrets
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" if self.scheme else host


@dataclass(frozen=True)
class Pattern:
    """One entry of a rule's `targets`, as written and as understood: a network, or a host with optional URL parts."""

    text: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    host: str = ""
    below: bool = False
    """`*.example.com`: every host below `host`, and not itself."""
    scheme: str | None = None
    port: int | None = None
    path: str = "/"

    def covers(self, place: Place) -> bool:
        """Whether the place is one of those the pattern names."""
        if self.network is not None:
            return _in_network(place.host, self.network)
        if self.below:
            return place.host.endswith("." + self.host) and not _is_address(place.host)
        if place.host != self.host:
            return False
        if self.scheme is None:
            return True
        return (place.scheme, place.port) == (self.scheme, self.port) and _path_below(place.path or "/", self.path)


def parse_pattern(text: str) -> Pattern:
    """Raises ValueError with a sentence that says what to write."""
    if _SCHEME.match(text):
        return _url_pattern(text)
    if "/" in text or _is_address(text):
        try:
            return Pattern(text, network=ipaddress.ip_network(text))
        except ValueError:
            raise ValueError(
                f"'{text}' is no network: write it like 10.20.0.0/16, without host bits, or a URL with its scheme"
            ) from None
    below = text.startswith("*.")
    try:
        host = check_host(text.removeprefix("*."))
    except EasyAlertError:
        raise ValueError(
            f"'{text}' is no host: write a name, *.example.com, an address, a network or a URL; ports go into URLs"
        ) from None
    if below and _is_address(host):
        raise ValueError(f"'{text}' is no host: an address has nothing below it")
    return Pattern(text, host=host, below=below)


def url_place(url: str) -> Place:
    """An http or https URL as the http executor reads it. Raises Unreadable."""
    try:
        target = parse_target(url, _ANY)
    except EasyAlertError as error:
        raise Unreadable(str(error)) from None
    return Place(target.host, target.scheme, target.port, target.path)


def host_place(host: str) -> Place:
    """A host by itself. Raises Unreadable."""
    try:
        return Place(check_host(host.strip()))
    except EasyAlertError as error:
        raise Unreadable(str(error)) from None


def _url_pattern(text: str) -> Pattern:
    try:
        target = parse_target(text, _ANY)
    except EasyAlertError as error:
        raise ValueError(f"'{text}' is no URL a rule can name: {error}") from None
    if "?" in text or "#" in text or not _plain(target.path):
        raise ValueError(f"'{text}' is no beginning of URLs: leave out ?, #, dot segments and escapes like %2e")
    return Pattern(text, host=target.host, scheme=target.scheme, port=target.port, path=target.path)


def _path_below(path: str, beginning: str) -> bool:
    """By whole segments: `/v1` covers `/v1`, `/v1?x` and `/v1/x`, not `/v10`; `/v1/` covers what is below it only."""
    path = path.partition("?")[0]
    if beginning == "/":
        return True
    return _plain(path) and (path.startswith(beginning.rstrip("/") + "/") or path == beginning)


def _plain(path: str) -> bool:
    """Without anything through which a path can end elsewhere than it says."""
    return (
        not _DISGUISED.search(path) and not {".", ".."} & set(path.split("/")) and "\\" not in path and ";" not in path
    )


def _in_network(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
