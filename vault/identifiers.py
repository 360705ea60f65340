"""Connection ids: the names under which credentials are stored (contract 4.2)."""

from __future__ import annotations

import re
from typing import Final

from easyalert.errors import InvalidConnectionId

MAX_LENGTH: Final = 256

# `fullmatch`, because `$` also matches before a trailing newline, which would let unaddressable ids in.
_CONNECTION_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")


def is_connection_id(candidate: str) -> bool:
    """Whether `candidate` may be a connection id (contract 4.2)."""
    return _CONNECTION_ID.fullmatch(candidate) is not None


def check_connection_id(connection_id: str) -> str:
    """Answer the id unchanged.

    Raises InvalidConnectionId unless it is 1 to 256 ASCII letters, digits, `_` or `-`; a trailing newline, which the
    vendor's agent lets through (contract 4.2), is refused too.
    """
    if not isinstance(connection_id, str) or not is_connection_id(connection_id):
        raise InvalidConnectionId(
            f"not a connection id: 1 to {MAX_LENGTH} letters A-Z and a-z, digits, '_' or '-' are allowed, nothing else"
        )
    return connection_id
