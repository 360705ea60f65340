from __future__ import annotations

import asyncio

import pytest

from easyalert.errors import AddressRefused, AgentFault, Fault, TargetError
from tests.workers.oddities import Odd
from workers.sdk import success
from workers.sdk.harness import Harness
from workers.sdk.running import run_action, settled


@pytest.fixture
def ctx(tmp_path):
    return Harness(Odd(), tmp_path).context("wait", {}, timeout_s=30)


@pytest.mark.parametrize(
    ("error", "fault"),
    [(TargetError("gone"), Fault.TARGET), (AgentFault("disk"), Fault.AGENT), (AddressRefused("private"), Fault.JOB)],
)
def test_known_errors_say_whose_fault_they_are(ctx, error, fault):
    def work():
        raise error

    result = settled(ctx, work)
    assert (result.status, result.exit_code, result.fault, result.error) == ("error", -1, fault, str(error))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("hunter2"),
        KeyboardInterrupt(),
        SystemExit(0),
        asyncio.CancelledError(),
        MemoryError(),
        RecursionError("hunter2"),
        ExceptionGroup("hunter2", [ValueError("x")]),
    ],
)
def test_anything_else_is_named_by_its_type_only(ctx, error, caplog):
    def work():
        raise error

    result = settled(ctx, work)
    assert (result.exit_code, result.fault) == (-1, Fault.AGENT)
    assert type(error).__name__ in result.error
    assert "hunter2" not in result.error
    assert "hunter2" not in caplog.text


def test_a_time_out_is_the_jobs_only_at_its_deadline(tmp_path):
    def work():
        raise TimeoutError

    early = Harness(Odd(), tmp_path).context("wait", {}, timeout_s=30)
    assert settled(early, work).outcome == "finished"
    late = Harness(Odd(), tmp_path, clock=lambda: 100.0).context("wait", {}, timeout_s=30)
    late.deadline = 99.0
    result = settled(late, work)
    assert result.outcome == "timed_out"
    assert "30 seconds" in result.error


def test_what_is_no_result_is_no_success(ctx):
    assert settled(ctx, lambda: {"status": "success"}).status == "error"
    assert settled(ctx, success).status == "success"


def test_an_action_is_ended_at_the_deadline(tmp_path):
    ctx = Harness(Odd(), tmp_path).context("wait", {}, timeout_s=0)
    with asyncio.Runner() as loop, pytest.raises(TimeoutError):
        run_action(loop, Odd(), ctx, "wait")


def test_an_action_that_does_not_watch_for_it_is_cancelled_from_outside(tmp_path, monkeypatch):
    monkeypatch.setattr("workers.sdk.running.CANCEL_PATIENCE_S", 0.05)
    ran = Harness(Odd(), tmp_path, cancelled=lambda: True).run("wait", {})
    assert (ran.result.outcome, ran.result.exit_code, ran.result.fault) == ("cancelled", -1, None)
    assert ran.error.startswith("cancelled")


def test_one_that_is_faster_than_the_request_keeps_its_result(tmp_path):
    ran = Harness(Odd(), tmp_path, cancelled=lambda: True).run("count", {"n": 3})
    assert (ran.result.outcome, ran.result.output) == ("finished", {"n": 3})
