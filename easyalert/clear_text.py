"""Where secrets may travel as they are."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

_THIS_MACHINE: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))


def safe_for_credentials(url: str) -> bool:
    """https, or a host that is literally this machine (contract 1.10, item 11)."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return parts.scheme == "https" or host == "localhost" or ipaddress.ip_address(host) in _THIS_MACHINE
    except ValueError:
        return False
