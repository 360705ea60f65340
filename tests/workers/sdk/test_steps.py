from __future__ import annotations

import pytest

from easyalert.errors import TargetError
from tests.workers.sdk.test_context import Clock
from workers.sdk.steps import Steps


def test_each_step_has_its_time_and_its_detail():
    clock = Clock()
    steps = Steps(clock)
    with steps.step("name", "db.example") as step:
        clock.now += 0.25
        step["detail"] = "10.0.0.5"
    steps.passed("tcp", 0.0104)
    assert steps.report() == [
        {"step": "name", "ok": True, "durationMs": 250, "detail": "10.0.0.5"},
        {"step": "tcp", "ok": True, "durationMs": 10, "detail": ""},
    ]


def test_what_fails_is_told_with_our_sentence_and_goes_on_up():
    steps = Steps()
    with pytest.raises(TargetError), steps.step("login", "ada"):
        raise TargetError("the password was refused")
    assert steps.report()[0] | {"durationMs": 0} == {
        "step": "login", "ok": False, "durationMs": 0, "detail": "the password was refused",
    }  # fmt: skip


def test_a_foreign_errors_text_is_not_told():
    steps = Steps()
    with pytest.raises(ValueError, match="secret"), steps.step("tls"):
        raise ValueError("secret")
    assert steps.report()[0]["detail"] == "failed"
