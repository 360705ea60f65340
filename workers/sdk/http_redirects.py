"""Following a redirect: where the next request goes, and what of the last one goes with it (RFC 9110, 15.4).

A redirect is the word of a stranger, so each one is judged like a URL of a job, and nothing that the job or the vault
said to one origin is said to another: there only the few headers of `_HARMLESS` go along, and no body.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Final

from easyalert.errors import AddressRefused, InvalidParameter, PolicyRefused, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import Target, parse_target

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_KEEP_METHOD: Final = frozenset({307, 308})
# A list of what may go, not of what may not: any other header may hold a credential under a name of its own.
_HARMLESS: Final = frozenset({b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"user-agent"})
_HAS_SCHEME: Final = re.compile(r"[^/?#]*:")
_OF_THE_BODY: Final = (b"content-", b"digest", b"repr-digest")


@dataclass(frozen=True)
class Hop:
    """One request of a chain. `headers` hold the credential's, if any."""

    method: str
    target: Target
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None


def next_hop(hop: Hop, status: int, location: str, policy: NetworkPolicy) -> Hop:
    """The request that an answer of `status` with this `Location` asks for.

    301 and 302 turn POST into GET, 303 everything but HEAD; 307 and 308 keep method and body. Raises AddressRefused for
    a place the agent may not reach, PolicyRefused for https to http and for a body that would go to another origin,
    TargetError for a `Location` that is no URL.
    """
    origin = hop.target.short_origin
    target = _target(hop.target, location, policy)
    if hop.target.scheme == "https" and target.scheme != "https":
        raise PolicyRefused(f"{origin} redirects to {target.short_origin}: from https to http is not followed")
    if status not in _KEEP_METHOD and hop.method != "HEAD" and (status == 303 or hop.method == "POST"):
        hop = replace(hop, method="GET", body=None, headers=tuple(h for h in hop.headers if not _of_the_body(h[0])))
    if target.origin == hop.target.origin:
        return replace(hop, target=target)
    if hop.body is not None:
        raise PolicyRefused(f"{origin} redirects to {target.short_origin}: the body is not sent to another origin")
    return replace(hop, target=target, headers=tuple(h for h in hop.headers if h[0].lower() in _HARMLESS))


def _target(base: Target, location: str, policy: NetworkPolicy) -> Target:
    try:
        return parse_target(_absolute(base, location), policy, parameter="Location")
    except AddressRefused as refusal:
        raise AddressRefused(f"{base.short_origin} redirects elsewhere: {refusal}") from None
    except InvalidParameter as problem:
        raise TargetError(f"{base.short_origin} redirects to what is no http URL: {problem}") from None


def _absolute(base: Target, location: str) -> str:
    """`location` as an absolute URL. Only joined, not repaired: the strict reader sees every odd character of it."""
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if location.startswith("/"):
        return base.short_origin + location
    if _HAS_SCHEME.match(location):
        return location
    try:
        path = urllib.parse.urljoin(base.path, location)
    except ValueError:
        return location
    # urljoin drops tabs and newlines, which are then not refused: they must not vanish unseen
    return location if any(char < " " for char in location) else base.short_origin + path


def _of_the_body(name: bytes) -> bool:
    return name.lower().startswith(_OF_THE_BODY)
