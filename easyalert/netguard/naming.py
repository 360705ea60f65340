"""Which address a job or a connection names: asked by whoever goes there, and by the policy, in the same words."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from easyalert.errors import InvalidParameter

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def join_url(base: str, url: str) -> str:
    """`url`, put after `base` when it has no scheme. Raises InvalidParameter when both are empty."""
    base, url = base.strip(), url.strip()
    if not url and not base:
        raise InvalidParameter("url", "is required (or baseUrl)")
    if not url or not base or _SCHEME.match(url):
        return url or base
    return f"{base.rstrip('/')}/{url.lstrip('/')}"


def connection_address(config: dict[str, Any]) -> str:
    """The URL in a connection's configuration or vault entry; empty when it names none."""
    for key in ("baseUrl", "url", "host"):
        value = config.get(key)
        if isinstance(value, str) and value.strip():
            address = value.strip()
            if _SCHEME.match(address):
                return address
            if _is_ipv6(address):
                address = f"[{address}]"
            port = config.get("port") if key == "host" else None
            has_port = ":" in address.rpartition("]")[2]
            return f"https://{address}:{port}" if port and not has_port else f"https://{address}"
    return ""


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
