"""Results that the wire can always carry (contract 2.2): safe values, and the form of a job that ended without one."""

from __future__ import annotations

import math
from typing import Any

_MAX_DEPTH = 64
_MAX_INT_BITS = 1024


def ended_without_result(job_id: str, word: str, sentence: str) -> dict[str, Any]:
    """A result for a job with no outcome of its own; `word` (`in_doubt`, `cancelled`, …) is a token and comes first."""
    return {
        "jobId": job_id,
        "status": "error",
        "output": None,
        "error": f"{word}: {sentence}",
        "exitCode": -1,
        "durationMs": 0,
    }


def json_safe(value: Any, _depth: int = 0) -> Any:
    """A copy every JSON encoder takes: NaN and infinities become null, lone surrogates `?`, unknown types text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        # Python refuses to print longer ones, and no reader on the other side would take them
        return value if value.bit_length() <= _MAX_INT_BITS else f"[integer of {value.bit_length()} bits]"
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict | list | tuple | set | frozenset):
        return _safe_container(value, _depth)
    return _encodable(_text(value))


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text  # the same one: a second megabyte of output would stay until the result is written


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)  # an enumeration's value, not its name
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a foreign object's own code; a result must come out all the same
        return f"[{type(value).__name__}]"


def _safe_container(value: Any, depth: int) -> Any:
    if depth >= _MAX_DEPTH:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {json_safe(_text(key)): json_safe(item, depth + 1) for key, item in value.items()}
    return [json_safe(item, depth + 1) for item in value]
