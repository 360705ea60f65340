"""The teams executor against webhooks that answer as Microsoft's do (contract 3.9)."""

from __future__ import annotations

import json
import logging
import time
from typing import ClassVar

import pytest

from easyalert.netguard.judge import NetworkPolicy
from tests.support.faults import Cut, Silent, Status
from tests.support.ports import free_port
from tests.support.teams_hook import LIMIT, PLAIN, TeamsHook
from tests.support.tls import throwaway_authority
from workers.executors.teams import TeamsExecutor
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

CARD = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "text": "hello"}]}
MESSAGE = {"message": "disk 91% on db-2"}
INSIDE = NetworkPolicy(allow_private=True)
BOTH = pytest.mark.parametrize("kind", ["connector", "workflow"])


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = TeamsExecutor
    samples: ClassVar = {"sendMessage": MESSAGE, "sendAdaptiveCard": {"cardJson": CARD}, "testConnection": {}}

    def harness(self, tmp_path):
        entry = {"webhookUrl": "https://127.0.0.1:1/webhookb2/0123456789abcdef"}
        return Harness(self.executor(), tmp_path, credential=entry, network_policy=INSIDE)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def teams(authority):
    with TeamsHook(authority.server_context()) as hook:
        yield hook


@pytest.fixture
def run(tmp_path, teams, authority):
    def do(name, params, *, kind="connector", timeout_s=30, cancelled=lambda: False, **more):
        entry = {"webhookUrl": getattr(teams, kind), "caCertificate": authority.root.read_text(), **more}
        entry = {name: value for name, value in entry.items() if value is not None}
        harness = Harness(TeamsExecutor(), tmp_path, credential=entry, network_policy=INSIDE, cancelled=cancelled)
        recorded = harness.run(name, params, timeout_s=timeout_s).recorded
        for secret in (teams.group, teams.signature, teams.connector[-36:-10]):
            assert secret not in json.dumps(recorded)
        return recorded

    return do


# ---- what is posted -------------------------------------------------------------------------------------------------


def test_a_connector_gets_a_message_card(run, teams):
    result = run("sendMessage", MESSAGE)
    assert result["status"] == "success", result
    assert result["output"] == {"message": "Teams has taken the message"}
    plain = {"@type": "MessageCard", "@context": "http://schema.org/extensions", "themeColor": "0076D7"}
    assert teams.posted == [plain | {"text": MESSAGE["message"]}]
    run("sendMessage", {**MESSAGE, "title": "Disk", "themeColor": "#ff0000"})
    assert teams.posted[1] == plain | {
        "themeColor": "ff0000", "text": MESSAGE["message"], "title": "Disk", "summary": "Disk",
    }  # fmt: skip


def test_a_workflow_gets_an_adaptive_card(run, teams):
    assert run("sendMessage", MESSAGE, kind="workflow")["status"] == "success"
    run("sendMessage", {**MESSAGE, "title": "Disk"}, kind="workflow")
    cards = [posted["attachments"][0]["content"] for posted in teams.posted]
    assert [card["version"] for card in cards] == ["1.4", "1.4"]
    assert [block["text"] for block in cards[0]["body"]] == [MESSAGE["message"]]
    assert [(block["text"], block.get("weight")) for block in cards[1]["body"]] == [
        ("Disk", "Bolder"), (MESSAGE["message"], None),
    ]  # fmt: skip


@BOTH
def test_a_rich_message_is_a_card_in_a_message(run, teams, kind):
    params = {"messageFormat": "rich", "outputData": {"stdout": "[click](https://evil.test)"}, "title": "Uptime"}
    assert run("sendMessage", params, kind=kind)["status"] == "success"
    message = teams.posted[0]
    assert message["type"] == "message"
    assert message["attachments"][0]["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = message["attachments"][0]["content"]
    assert card["version"] == "1.5"
    assert {element["type"] for element in card["body"]} == {"RichTextBlock"}


@BOTH
def test_large_rich_messages_are_within_a_webhooks_size(run, kind):
    pods = [{"name": f"p{n}", "logs": "\U0001f525" * 100_000} for n in range(30)]
    table = {"columns": ["ü" * 40] * 20, "rows": [["\U0001f525" * 400] * 20] * 400}
    for data in ({"pods": pods}, table, {"stdout": '"' * 200_000, "stderr": "\U0001f525" * 200_000}):
        result = run("sendMessage", {"messageFormat": "rich", "outputData": data}, kind=kind)
        assert result["status"] == "success", result


@pytest.mark.parametrize("card", [CARD, json.dumps(CARD)])
@BOTH
def test_a_card_is_posted_as_it_is_given(run, teams, card, kind):
    assert run("sendAdaptiveCard", {"cardJson": card}, kind=kind)["status"] == "success"
    assert teams.posted[0]["attachments"][0]["content"] == CARD


# ---- what Teams refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 413, 500])
def test_a_200_that_holds_an_error_is_an_error(run, teams, status):
    """Defect A24."""
    teams.faults.append(teams.wrapped(status))
    result = run("sendMessage", MESSAGE)
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert f"Teams refused the message (HTTP {status};" in result["error"]
    assert result["output"] == {"statusCode": 200}


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b'{"error":"x"}', b"0"])
def test_a_connector_that_does_not_say_1_has_not_taken_it(run, teams, body):
    """Defect A24."""
    teams.faults.append(Status(200, PLAIN, body))
    assert run("sendMessage", MESSAGE)["status"] == "error"


@pytest.mark.parametrize(
    ("kind", "answer", "status"),
    [
        ("connector", Status(200, PLAIN, b""), "success"),
        ("connector", Status(202, PLAIN, b""), "success"),
        ("workflow", Status(200, PLAIN, b""), "success"),
        ("workflow", Status(200, PLAIN, b'{"error":{"code":"x"}}'), "error"),
        ("workflow", Status(204, PLAIN, b""), "error"),
        ("workflow", Status(302, {"Location": "https://evil.test/"}, b""), "error"),
    ],
)
def test_what_counts_as_success(run, teams, kind, answer, status):
    teams.faults.append(answer)
    assert run("sendMessage", MESSAGE, kind=kind)["status"] == status


def test_a_webhook_that_was_removed_is_to_be_replaced(run, teams):
    gone = f"{teams.origin}/webhookb2/gone-gone-gone-gone"
    result = run("sendMessage", MESSAGE, webhookUrl=gone)
    assert (result["exitCode"], result["output"]) == (1, {"statusCode": 404})
    assert "store a new webhookUrl" in result["error"]
    assert "No webhook found" in result["error"]
    wrong = run("sendMessage", MESSAGE, webhookUrl=teams.workflow.replace("paths", "path"))
    assert wrong["output"] == {"statusCode": 401}


def test_what_is_larger_than_a_message_may_be_is_not_sent(run, teams):
    for name, params in (
        ("sendMessage", {"message": "ü" * 20_000}),
        ("sendAdaptiveCard", {"cardJson": {**CARD, "more": "x" * LIMIT}}),
    ):
        result = run(name, params)
        assert result["exitCode"] == -1
        assert f"Teams takes {LIMIT}" in result["error"]
    assert teams.calls == []


@pytest.mark.parametrize(
    ("action", "params", "named"),
    [
        ("sendMessage", {"message": " "}, "message"),
        ("sendMessage", {"message": None, "messageFormat": "rich", "outputData": {}}, "message"),
        ("sendMessage", {"themeColor": "red"}, "themeColor"),
        ("sendMessage", {"themeColor": "0076D7\n0"}, "themeColor"),
        ("sendAdaptiveCard", {}, "cardJson"),
        ("sendAdaptiveCard", {"cardJson": "{"}, "cardJson"),
        ("sendAdaptiveCard", {"cardJson": "[1]"}, "cardJson"),
        ("sendAdaptiveCard", {"cardJson": {}}, "cardJson"),
        ("testConnection", {"timeout": "soon"}, "timeout"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(run, teams, action, params, named):
    result = run(action, {**MESSAGE, **params})
    assert result["exitCode"] == -1
    assert f"'{named}'" in result["error"]
    assert teams.calls == []


# ---- the webhook's address ------------------------------------------------------------------------------------------


def test_the_vaults_webhook_wins_over_the_jobs(run, teams):
    elsewhere = f"https://localhost:{free_port()}/webhookb2/of-the-job-of-the-job"
    result = run("sendMessage", {**MESSAGE, "webhookUrl": elsewhere, "connectionConfig": {"webhookUrl": elsewhere}})
    assert result["status"] == "success"
    assert len(teams.posted) == 1


@pytest.mark.parametrize("where", ["top", "nested"])
def test_without_one_in_the_vault_the_jobs_is_used_and_hidden(run, teams, where):
    own = {"webhookUrl": teams.connector}
    params = own if where == "top" else {"connectionConfig": own}
    assert run("sendMessage", {**MESSAGE, **params}, webhookUrl=None)["status"] == "success"
    teams.faults.append(Status(400, PLAIN, f"cannot post to {teams.connector}".encode()))
    result = run("sendMessage", {**MESSAGE, **params}, webhookUrl=None)  # `run` looks for it
    assert "cannot post to" in result["error"]


def test_an_answer_that_repeats_parts_of_the_address_does_not_show_them(run, teams):
    """Defect C9."""
    path = teams.workflow.removeprefix(teams.origin)
    for echoed in (teams.workflow, path, path.partition("?")[0], path.partition("?")[2], teams.group, teams.signature):
        teams.faults.append(Status(500, PLAIN, f"failed: {echoed}".encode()))
        assert "failed" in run("sendMessage", MESSAGE, kind="workflow")["error"]


def test_no_log_shows_the_address(run, teams, caplog):
    """Defect C9: not at DEBUG either."""
    with caplog.at_level(logging.DEBUG):
        run("sendMessage", MESSAGE)
        teams.faults.append(Cut("before"))
        run("sendMessage", MESSAGE)
    quiet = ("httpcore", "httpx")  # of these every process shows warnings only (easyalert.logs)
    written = [
        record for record in caplog.records if not record.name.startswith(quiet) or record.levelno >= logging.WARNING
    ]
    assert not [record for record in written if teams.group in record.getMessage()]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://hooks.test/secret-secret", "must begin with https://"),
        ("https://hooks.test/a b-secret-secret", "webhookUrl"),
        ("https://user:secret-secret@hooks.test/", "user name or password"),
        (" ", "has no 'webhookUrl'"),
        (None, "has no 'webhookUrl'"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_and_not_shown(run, url, words):
    result = run("sendMessage", MESSAGE, webhookUrl=url)
    assert result["exitCode"] == -1
    assert words in result["error"]
    assert "secret-secret" not in result["error"]


def test_private_addresses_are_closed_by_default(tmp_path, teams, authority):
    entry = {"webhookUrl": teams.connector, "caCertificate": authority.root.read_text()}
    ran = Harness(TeamsExecutor(), tmp_path, credential=entry).run("sendMessage", MESSAGE)
    assert "ALLOW_PRIVATE_NETWORK" in ran.error
    metadata = {"webhookUrl": "https://169.254.169.254/latest/meta-data"}
    ran = Harness(TeamsExecutor(), tmp_path, credential=metadata, network_policy=INSIDE).run("sendMessage", MESSAGE)
    assert "metadata" in ran.error
    assert teams.calls == []


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(run, teams):
    result = run("sendMessage", MESSAGE, caCertificate=None)
    assert "certificate is not trusted" in result["error"]
    assert "nothing was sent" in result["error"]
    assert teams.calls == []


# ---- time, 429, and what may have happened --------------------------------------------------------------------------


@pytest.mark.parametrize("throttled", [Status(429, {"Retry-After": "1"}, b""), TeamsHook.wrapped(429)])
def test_after_a_429_it_waits_and_posts_once(run, teams, throttled):
    teams.faults.append(throttled)
    began = time.monotonic()
    assert run("sendMessage", MESSAGE)["status"] == "success"
    assert time.monotonic() - began >= 1
    assert len(teams.calls) == 2
    assert len(teams.posted) == 1


def test_after_three_it_gives_up(run, teams):
    teams.faults += [Status(429, {"Retry-After": "0"}, b"")] * 3
    result = run("sendMessage", MESSAGE)
    assert result["output"] == {"statusCode": 429}
    assert "too many messages" in result["error"]
    assert "may have been" not in result["error"]
    assert len(teams.calls) == 3


@pytest.mark.parametrize("fault", [Cut("before"), Cut("body"), Status(502, {}, b"")])
def test_what_is_no_answer_leaves_a_doubt_and_is_not_sent_again(run, teams, fault):
    teams.faults.append(fault)
    result = run("sendMessage", MESSAGE)
    assert result["status"] == "error"
    assert "the message may have been posted" in result["error"]
    assert len(teams.calls) == 1


def test_time_is_the_jobs_to_say(run, teams):
    """Defect D16."""
    teams.faults += [Silent(), Silent()]
    assert (
        "no answer within 0.5 s; the message may have been" in run("sendMessage", {**MESSAGE, "timeout": 0.5})["error"]
    )
    assert "timed out after 1 seconds; the message may have been" in run("sendMessage", MESSAGE, timeout_s=1)["error"]


def test_a_cancelled_job_says_what_may_have_been(run, teams):
    teams.faults.append(Silent())
    result = run("sendMessage", MESSAGE, cancelled=lambda: teams.held > 0)
    assert "cancelled while waiting for Teams; the message may have been posted" in result["error"]


def test_no_action_may_be_repeated():
    assert [spec.may_repeat({}) for spec in TeamsExecutor.actions.values()] == [False] * 3


# ---- the test of a connection ---------------------------------------------------------------------------------------


@BOTH
def test_the_test_posts_a_message(run, teams, kind):
    result = run("testConnection", {}, kind=kind)
    assert result["status"] == "success", result
    assert [step["step"] for step in result["output"]["steps"]] == ["name", "tcp", "tls", "permission"]
    assert "EasyAlert test message" in json.dumps(teams.posted)


def test_the_test_names_the_step_that_failed(run, teams):
    gone = run("testConnection", {}, webhookUrl=f"{teams.origin}/webhookb2/gone-gone-gone-gone")
    assert gone["error"].startswith("permission: Teams refused the message (HTTP 404")
    assert gone["output"]["statusCode"] == 404
    assert [step["ok"] for step in gone["output"]["steps"]] == [True, True, True, False]
    nobody = run("testConnection", {}, webhookUrl=f"https://localhost:{free_port()}/webhookb2/nobody-nobody")
    assert nobody["error"].startswith("tcp: no answer from localhost (Connection refused); nothing was sent")
    stranger = run("testConnection", {}, caCertificate=None)
    assert stranger["error"].startswith("tls: ")
    teams.faults.append(Silent())
    assert run("testConnection", {"timeout": 0.5})["error"].startswith("permission: Teams gave no answer within 0.5 s")
