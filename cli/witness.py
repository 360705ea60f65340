"""What the control plane has witnessed of this agent's record (`GET /api/v1/agents/ID/audit-heads`): a file or a URL.

The list is asked for with an operator's token, which comes from a file and never from an argument, and which goes
over https or to this machine only.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cli.secrets_in import read_file, read_line
from cli.terminal import plain
from easyalert.audit import Head
from easyalert.errors import AuditError, ConfigurationError

LIST_MAX_BYTES: Final = 16 * 1024 * 1024
_TIMEOUT_S: Final = 30.0
_PAGES_MAX: Final = 100
_URL: Final = re.compile(r"https?://", re.IGNORECASE)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_WHOLE: Final = "download GET /api/v1/agents/ID/audit-heads of the control plane as a whole, and give that"


@dataclass(frozen=True)
class Witnessed:
    """The list, read. `heads`: of the record that counts now; `earlier`: how many others were witnessed before it."""

    agent_id: str
    heads: tuple[Head, ...]
    last_seen: str | None
    earlier: int
    warning: str | None


def read_witness(where: str, token_file: Path | None) -> Witnessed:
    """From a file, standard input (`-`) or a URL. Raises ConfigurationError for what is no such list, AuditError."""
    if _URL.match(where):
        return _read(_fetched(where, token_file))
    if token_file is not None:
        raise ConfigurationError("--token-file is for a --witness that is a URL")
    if where == "-":
        raw = sys.stdin.buffer.read(LIST_MAX_BYTES + 1)
        if len(raw) > LIST_MAX_BYTES:
            raise ConfigurationError(f"standard input holds more than {LIST_MAX_BYTES} bytes")
    else:
        raw = read_file(Path(where), LIST_MAX_BYTES)
    return _read([_document(raw)])


def _fetched(url: str, token_file: Path | None) -> list[dict[str, Any]]:
    parts = urlsplit(url)
    if parts.scheme.lower() != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigurationError("--witness: the token would travel in clear; give an https URL, or a downloaded file")
    if "@" in parts.netloc or parts.query or parts.fragment or not parts.path.endswith("/audit-heads"):
        raise ConfigurationError("--witness: give the URL as it is, https://…/api/v1/agents/ID/audit-heads")
    if token_file is None:
        raise ConfigurationError("--witness: give the operator's token with --token-file FILE (scope viewer will do)")
    token = read_line(token_file)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigurationError(f"{plain(token_file)} holds no token")
    pages = [_page(url, token, None)]
    while (cursor := pages[-1].get("nextCursor")) is not None:
        if not isinstance(cursor, str) or len(pages) >= _PAGES_MAX:
            raise AuditError("the control plane's list of witnessed entries has no end")
        pages.append(_page(url, token, cursor))
    return [{**page, "nextCursor": None} for page in pages]


def _page(url: str, token: str, cursor: str | None) -> dict[str, Any]:
    import httpx  # noqa: PLC0415 - takes a tenth of a second, and most looks at the record need none

    from easyalert.netguard.transport import system_trust  # noqa: PLC0415 - as above

    query, headers = {} if cursor is None else {"cursor": cursor}, {"Authorization": f"Bearer {token}"}
    try:
        with (
            httpx.Client(verify=system_trust(), timeout=_TIMEOUT_S, follow_redirects=False) as client,
            client.stream("GET", url, params=query, headers=headers) as answer,
        ):
            raw = bytearray()
            for part in answer.iter_bytes():
                raw += part
                if len(raw) > LIST_MAX_BYTES:
                    raise AuditError(f"the control plane's list is larger than {LIST_MAX_BYTES} bytes")
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise AuditError(
            f"the control plane could not be asked what it has witnessed ({type(error).__name__}); {_WHOLE}"
        ) from None
    if status != 200:
        why = {401: "the token is not known there", 403: "the token may not", 404: "it knows no such agent"}
        raise AuditError(f"the control plane does not say what it has witnessed: {why.get(status, f'HTTP {status}')}")
    return _document(bytes(raw))


def _document(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise _no_list("it is no JSON") from None
    if not isinstance(document, dict):
        raise _no_list("it is no JSON object")
    # the answer as it came, or its `data`
    return document if "data" in document else {"data": document}


def _read(pages: list[dict[str, Any]]) -> Witnessed:
    found: list[tuple[int, Head, str]] = []
    for page in pages:
        data = page["data"]
        if page.get("nextCursor") is not None:
            raise ConfigurationError(f"the list of witnessed entries goes on (nextCursor): {_WHOLE}")
        if not isinstance(data, dict) or not isinstance(data.get("heads"), list):
            raise _no_list("it has no heads")
        found += [_head(entry) for entry in data["heads"]]
    first = pages[0]["data"]
    agent_id, warning = first.get("agentId"), first.get("warning")
    if not isinstance(agent_id, str):
        raise _no_list("it names no agentId")
    chain = max((entry[0] for entry in found), default=0)
    seen = [entry for entry in found if entry[0] == chain]
    return Witnessed(
        agent_id=agent_id,
        heads=tuple(head for _, head, _ in seen),
        last_seen=max((at for _, _, at in seen), default=None),
        earlier=len({entry[0] for entry in found}) - 1 if found else 0,
        warning=None if warning is None else _sentence(warning),
    )


def _head(entry: Any) -> tuple[int, Head, str]:
    if isinstance(entry, dict) and type(entry.get("chain")) is int and isinstance(entry.get("seenAt"), str):
        head = Head.read(f"{entry.get('seq')}:{entry.get('hash')}")
        if head is not None:
            return entry["chain"], head, entry["seenAt"]
    raise _no_list("one of its heads lacks chain, seq, hash or seenAt")


def _sentence(warning: Any) -> str:
    said = warning.get("sentence") if isinstance(warning, dict) else None
    return said if isinstance(said, str) else "the control plane warns of this record"


def _no_list(problem: str) -> ConfigurationError:
    return ConfigurationError(f"--witness is no list of witnessed entries ({problem}): {_WHOLE}")
