"""The notification executor against a control plane that speaks the base protocol (contract 1.8, 3.12)."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest

from easyalert.settings import AgentSettings
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests
from tests.support.ports import free_port
from workers.executors import notification
from workers.executors.notification import NotificationExecutor
from workers.relay import ControlPlaneRelay
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

KEY = "ea_agent_of_the_tests"
MESSAGE = {"type": "slack", "message": "disk 91% on db-2", "channel": "#ops"}


class TestContract(ExecutorContract):
    """What every executor promises; there is no control plane."""

    executor = NotificationExecutor
    samples: ClassVar = {"sendNotification": MESSAGE, "testConnection": {}}


@pytest.fixture
def send(plain_server, tmp_path):
    def run(params=None, *, name="sendNotification", url=None, key=KEY, timeout_s=60, cancelled=lambda: False):
        settings = AgentSettings(agent_api_url=url or plain_server.url, agent_api_key=key)
        relay = ControlPlaneRelay(settings)
        harness = Harness(NotificationExecutor(), tmp_path, relay=relay, cancelled=cancelled)
        recorded = harness.run(name, {**MESSAGE, **(params or {})}, timeout_s=timeout_s).recorded
        assert key not in str(recorded)
        return recorded

    return run


@pytest.fixture
def no_pauses(monkeypatch):
    """Their lengths are looked at by a test of their own."""
    monkeypatch.setattr(notification, "PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(notification, "KEY_PAUSE_S", 0.03)


def test_a_message_is_handed_over(plain_server, send):
    result = send()
    assert (result["status"], result["exitCode"]) == ("success", 0), result
    assert result["output"] == {
        "delivered": True, "type": "slack", "channel": "#ops", "attempts": 1, "truncated": False,
    }  # fmt: skip
    assert plain_server.notifications == [MESSAGE]
    assert plain_server.of("notify")[0].headers["x-agent-api-key"] == KEY


@pytest.mark.parametrize("channel", ["", " ", None])
def test_an_empty_channel_is_left_out(plain_server, send, channel):
    assert send({"channel": channel})["output"]["channel"] is None
    assert plain_server.notifications == [{"type": "slack", "message": "disk 91% on db-2"}]


def test_a_long_message_is_cut_and_it_is_said(plain_server, send):
    assert send({"message": "ü" * 65_536})["output"]["truncated"] is False
    assert send({"message": "ü" * 65_537})["output"]["truncated"] is True
    assert [len(document["message"]) for document in plain_server.notifications] == [65_536, 65_536]


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("fault", [Status(500), Status(503), too_many_requests("3600"), Cut("before"), Status(401)])
def test_what_may_pass_is_tried_again(plain_server, send, fault):
    plain_server.fail("notify", fault, fault)
    result = send()
    assert (result["status"], result["output"]["attempts"]) == ("success", 3), result
    assert len(plain_server.notifications) == 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Status(503), "HTTP 503"),
        (too_many_requests("1"), "HTTP 429"),
        (Cut("headers", after_work=True), "the message may have been taken"),
        (Status(401), "does not accept this agent's key"),
    ],
)
def test_after_three_attempts_it_gives_up(plain_server, send, fault, says):
    plain_server.always("notify", fault)
    result = send()
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert says in result["error"]
    assert (result["output"]["delivered"], result["output"]["attempts"]) == (False, 3)
    assert len(plain_server.of("notify")) == 3


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("code", [400, 403, 404, 413, 302])
def test_any_other_refusal_is_final(plain_server, send, code):
    plain_server.always("notify", Status(code))
    result = send()
    assert (result["status"], result["exitCode"], result["output"]["attempts"]) == ("error", -1, 1)
    assert f"HTTP {code}" in result["error"]
    assert "may have been taken" not in result["error"]


def test_a_page_has_taken_nothing(plain_server, send):
    """A proxy or a captive portal answers 200 to everything."""
    plain_server.always("notify", Answer(b"<html>Log in</html>"))
    result = send()
    assert result["status"] == "error"
    assert "a page" in result["error"]


def test_the_pauses_are_those_of_the_contract():
    assert (notification.PAUSES_S, notification.KEY_PAUSE_S, notification.ATTEMPT_S) == ((1.0, 2.0), 10.0, 15.0)


def test_it_waits_between_attempts(plain_server, send, monkeypatch):
    monkeypatch.setattr(notification, "PAUSES_S", (0.2, 0.3))
    plain_server.fail("notify", Status(500), Status(500))
    began = time.monotonic()
    send()
    assert time.monotonic() - began >= 0.5


def test_the_jobs_limit_ends_the_waiting(plain_server, send):
    plain_server.always("notify", Slow(30))
    result = send(timeout_s=1)
    assert result["exitCode"] == -1
    assert "timed out after 1 seconds; the message may have been taken" in result["error"]


def test_a_cancelled_job_says_what_may_have_happened(plain_server, send):
    plain_server.always("notify", Slow(30))
    result = send(cancelled=lambda: bool(plain_server.of("notify")))
    assert "cancelled while the control plane was asked; the message may have been taken" in result["error"]


@pytest.mark.parametrize(
    "wrong",
    [{"type": ""}, {"type": "two words"}, {"type": "slack\n"}, {"type": "x" * 65}, {"message": " \n"},
     {"message": ["x"]}, {"channel": "a\nb"}, {"channel": "x" * 5_000}],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_sent(plain_server, send, wrong):
    result = send(wrong)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert f"'{next(iter(wrong))}'" in result["error"]
    assert plain_server.seen == []


def test_the_control_plane_is_asked_how_it_is(plain_server, send):
    result = send(name="testConnection")
    assert result["status"] == "success", result
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]] == [("tcp", True)]
    assert plain_server.of("health")[0].path == "/api/v1/health/healthz"


@pytest.mark.parametrize("fault", [Status(503), Status(204, body=b""), Status(401)])
def test_a_control_plane_that_is_not_well(plain_server, send, fault):
    plain_server.always("health", fault)
    result = send(name="testConnection")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert result["output"]["statusCode"] == fault.code


def test_nobody_there_fails_the_first_step(send):
    result = send(name="testConnection", url=f"http://127.0.0.1:{free_port()}")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert [(step["step"], step["ok"]) for step in result["output"]["steps"]] == [("tcp", False)]
