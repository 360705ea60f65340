"""Judges requests by the base protocol of contract section 1 and nothing else; each break is one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

BASE_REGISTER = {"hostname", "agentName", "version", "platform", "architecture"}
BASE_RESULT = {"jobId", "status", "output", "error", "exitCode", "durationMs"}
BASE_HEARTBEAT = {
    *("agentId", "status", "jobsExecuted", "jobsFailed", "uptimeSeconds", "version", "systemMetrics"),
}


def judge_headers(headers: Mapping[str, str]) -> list[str]:
    """`headers` have lower-case names (contract 1.1)."""
    problems = []
    if headers.get("content-type") != "application/json":
        problems.append(f"Content-Type is {headers.get('content-type')!r}")
    if "application/json" not in headers.get("accept", "") and headers.get("accept") != "*/*":
        problems.append(f"Accept is {headers.get('accept')!r}")
    if "user-agent" not in headers:
        problems.append("User-Agent is missing")
    return problems


def judge_body(body: bytes, document: Any) -> list[str]:
    """Compact UTF-8 JSON without NaN, non-ASCII not escaped."""
    compact = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    return [] if compact == body else ["the body is not compact JSON"]


def judge_register(document: Any) -> list[str]:
    """Contract 1.3; unknown fields are accepted, the base ones required."""
    if not isinstance(document, dict):
        return ["register: not an object"]
    wrong = [name for name in sorted(BASE_REGISTER) if not isinstance(document.get(name), str) or not document[name]]
    return [f"register: '{name}' is not a text" for name in wrong]


def judge_results(document: Any, *, extra: frozenset[str] = frozenset()) -> list[str]:
    """Contract 1.5 and 2.2: a bare array of exactly these fields (and `extra`, where negotiated)."""
    if not isinstance(document, list) or not document:
        return ["results: not an array with entries"]
    return [problem for item in document for problem in _judge_result(item, extra)]


def judge_notification(document: Any) -> list[str]:
    """Contract 1.8: `channel` is there only when it says something."""
    if not isinstance(document, dict) or not {"type", "message"} <= set(document) <= {"type", "message", "channel"}:
        return ["notify: not an object of type, message and perhaps channel"]
    return [f"notify: '{name}' is no text" for name, text in document.items() if not (isinstance(text, str) and text)]


def _judge_result(item: Any, extra: frozenset[str]) -> list[str]:
    if not isinstance(item, dict):
        return ["results: an entry is not an object"]
    problems = []
    if set(item) - extra != BASE_RESULT:
        problems.append(f"results: fields {sorted(set(item) ^ BASE_RESULT)} are missing or not of the base protocol")
    if not isinstance(item.get("jobId"), str) or not item["jobId"]:
        problems.append("results: jobId is not a text")
    if item.get("status") not in {"success", "error"}:
        problems.append(f"results: status {item.get('status')!r}")
    if not isinstance(item.get("error"), str | None):
        problems.append("results: error is neither text nor null")
    problems += [
        f"results: {name} is not an integer" for name in ("exitCode", "durationMs") if type(item.get(name)) is not int
    ]
    return problems


def judge_heartbeat(document: Any, *, extra: bool = False) -> list[str]:
    """Contract 1.6. `extra`: further fields are allowed, because features were negotiated."""
    if not isinstance(document, dict):
        return ["heartbeat: not an object"]
    problems = [f"heartbeat: '{name}' is missing" for name in sorted(BASE_HEARTBEAT - set(document))]
    if not extra:
        problems += [
            f"heartbeat: '{name}' is not of the base protocol" for name in sorted(set(document) - BASE_HEARTBEAT)
        ]
    if document.get("status") not in {"online", "offline"}:
        problems.append(f"heartbeat: status {document.get('status')!r}")
    if not isinstance(document.get("agentId"), str):
        problems.append("heartbeat: agentId is not a text")
    return problems
