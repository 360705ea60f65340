from __future__ import annotations

import json

from easyalert.errors import Fault
from easyalert.redact import Redactor
from workers.sdk.result import envelope, failure, shorten, success


def test_success_is_exit_code_zero_and_no_error():
    recorded = envelope("job_1", success({"a": 1}), Redactor(), 12)
    assert recorded == {
        "jobId": "job_1",
        "status": "success",
        "output": {"a": 1},
        "error": None,
        "exitCode": 0,
        "durationMs": 12,
    }


def test_a_partial_failure_is_a_success_with_an_error():
    assert envelope("job_1", success({}, error="one pod failed"), Redactor(), 1)["error"] == "one pod failed"


def test_a_failure_is_the_remote_ends_unless_said():
    result = failure("no")
    assert (result.status, result.exit_code, result.fault, result.outcome) == ("error", 1, Fault.TARGET, "finished")


def test_an_error_is_cut_with_head_and_tail_after_redaction():
    secret = "correct-horse-battery"
    text = "start " + "x" * 320 + secret + "y" * 400 + " end"
    error = envelope("job_1", failure(text), Redactor([secret]), 1)["error"]
    assert len(error) <= 500
    assert error.startswith("start ")
    assert error.endswith(" end")
    assert "correct" not in error


def test_redactions_are_counted_in_an_object():
    redactor = Redactor(["correct-horse"])
    recorded = envelope("job_1", success({"a": "correct-horse", "b": ["correct-horse"]}), redactor, 1)
    assert recorded["output"] == {"a": "[REDACTED]", "b": ["[REDACTED]"], "redactions": 2}
    assert envelope("job_1", success("correct-horse"), Redactor(["correct-horse"]), 1)["output"] == "[REDACTED]"


def test_whatever_an_executor_returns_can_be_sent():
    odd = success({"n": float("inf"), "s": "\ud800", "k": {1: {2, 3}}, "b": b"x", "deep": deep(200)}, error="\udfff")
    json.dumps(envelope("job_1", odd, Redactor(), -5), allow_nan=False).encode()
    assert envelope("job_1", odd, Redactor(), -5)["durationMs"] == 0


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def test_short_texts_are_only_stripped():
    assert shorten("  a sentence \n") == "a sentence"
    assert shorten("x" * 500) == "x" * 500
