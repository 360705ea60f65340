"""What an action returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from easyalert.errors import Fault
from easyalert.protocol.limits import ERROR_MAX_CHARS
from easyalert.protocol.results import json_safe
from easyalert.redact import Redactor


@dataclass(frozen=True)
class ExecutorResult:
    """One action's result (contract 2.2 without job id and duration).

    `outcome` is `timed_out` or `cancelled` when the executor itself was told to stop and says what it has so far.
    """

    status: Literal["success", "error"]
    output: Any = None
    error: str | None = None
    exit_code: int = 0
    fault: Fault | None = None
    outcome: Literal["finished", "timed_out", "cancelled"] = "finished"


def success(output: Any = None, *, error: str | None = None) -> ExecutorResult:
    """The effect returned. `error` is for partial failures only (contract 3.4)."""
    return ExecutorResult("success", output, error)


def failure(
    error: str,
    *,
    output: Any = None,
    exit_code: int = 1,
    fault: Fault | None = Fault.TARGET,
    outcome: Literal["finished", "timed_out", "cancelled"] = "finished",
) -> ExecutorResult:
    """The action failed. `error` is one short sentence; whatever is long belongs into `output`.

    Exit codes (contract 2.2): a command's own; 1 for failures of the remote end; -1 for validation, missing
    credentials, time-outs and unexpected errors.
    """
    # cut by `envelope`, after redaction: a secret cut in two is not found any more
    return ExecutorResult("error", output, error, exit_code, fault, outcome)


def envelope(job_id: str, result: ExecutorResult, redactor: Redactor, duration_ms: int) -> dict[str, Any]:
    """The result as it is recorded and sent (contract 2.2): redacted, then cut, in values every JSON encoder takes.

    `output.redactions` says how many secrets were taken out, when there were any and the output is an object.
    """
    output = redactor.tree(json_safe(result.output))
    error = None if result.error is None else shorten(redactor.text(json_safe(result.error)))
    if redactor.count and isinstance(output, dict):
        output["redactions"] = redactor.count
    return {
        "jobId": job_id,
        "status": result.status,
        "output": output,
        "error": error,
        "exitCode": int(result.exit_code),
        "durationMs": max(0, duration_ms),
    }


def shorten(text: str, limit: int = ERROR_MAX_CHARS) -> str:
    """At most `limit` characters, head and tail kept; an error text is a sentence, not a log."""
    text = text.strip()
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 3]}...{text[-tail:]}"
