"""The slack executor against a server that answers as Slack's reference says (contract 3.6)."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import ClassVar

import pytest

from easyalert.netguard.judge import NetworkPolicy
from tests.support.faults import Cut, Silent, Status
from tests.support.ports import free_port
from tests.support.slack_api import SlackApi
from tests.support.tls import throwaway_authority
from workers.executors.slack import SlackConnection, SlackExecutor
from workers.sdk.connection import read_connection
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness

TOKEN = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"
OPS = "C024BE91L"
MESSAGE = {"channel": "#ops", "message": "disk 91% on db-2"}
INSIDE = NetworkPolicy(allow_private=True)


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = SlackExecutor
    samples: ClassVar = {
        "sendMessage": MESSAGE,
        "updateMessage": {"channel": "ops", "ts": "1503435956.000247", "message": "it is well"},
        "addReaction": {"channel": "ops", "ts": "1503435956.000247", "emoji": "eyes"},
        "testConnection": {},
    }

    def harness(self, tmp_path):
        entry = {"botToken": TOKEN, "apiUrl": "https://127.0.0.1:1/api/"}
        return Harness(self.executor(), tmp_path, credential=entry, network_policy=INSIDE)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def slack(authority):
    with SlackApi(authority.server_context()) as server:
        server.tokens[TOKEN] = {"chat:write", "reactions:write"}
        yield server


@pytest.fixture
def entry(slack, authority):
    return {"botToken": TOKEN, "apiUrl": slack.api_url, "caCertificate": authority.root.read_text()}


@pytest.fixture
def run(tmp_path, entry):
    def do(name, params, *, timeout_s=30, cancelled=lambda: False, credential=None):
        harness = Harness(
            SlackExecutor(), tmp_path, credential=credential or entry, network_policy=INSIDE, cancelled=cancelled
        )
        recorded = harness.run(name, params, timeout_s=timeout_s).recorded
        assert TOKEN not in json.dumps(recorded)
        return recorded

    return do


# ---- messages -------------------------------------------------------------------------------------------------------


def test_a_message_is_posted_changed_and_marked(run, slack):
    sent = run("sendMessage", MESSAGE)
    assert sent["status"] == "success", sent
    assert sent["output"] == {"channel": OPS, "ts": "1503435956.000247", "message": "posted in ops"}
    posted = slack.messages[OPS, sent["output"]["ts"]]
    assert posted["text"] == MESSAGE["message"]
    assert "blocks" not in posted
    where = {"channel": sent["output"]["channel"], "ts": sent["output"]["ts"]}
    changed = run("updateMessage", {**where, "message": "disk 40%"})
    assert changed["status"] == "success", changed
    assert changed["output"] | where == changed["output"]
    assert posted["text"] == "disk 40%"
    marked = run("addReaction", {**where, "emoji": ":eyes:"})
    assert marked["output"] == {"message": "the reaction eyes was added"}
    assert posted["reactions"] == ["eyes"]
    answer = run("sendMessage", {**MESSAGE, "threadTs": where["ts"]})
    assert slack.messages[OPS, answer["output"]["ts"]]["thread_ts"] == where["ts"]


def test_requests_are_json_with_a_bearer_token_to_the_methods_address(run, slack):
    run("sendMessage", MESSAGE)
    call = slack.calls[0]
    assert call.path == "/api/chat.postMessage"
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["content-type"] == "application/json; charset=utf-8"
    assert json.loads(call.body) == {"channel": "ops", "text": MESSAGE["message"]}


def test_the_text_is_sent_as_its_author_wrote_it(run, slack):
    text = "<!here> <https://a.test|look> & ünïcode \U0001f525"
    ts = run("sendMessage", {**MESSAGE, "message": text})["output"]["ts"]
    assert slack.messages[OPS, ts]["text"] == text


def test_a_rich_message_has_blocks_and_its_title_for_notifications(run, slack):
    params = {"channel": "ops", "messageFormat": "rich", "outputData": {"stdout": "<!channel> up"}, "title": "Uptime"}
    result = run("sendMessage", params)
    assert result["status"] == "success", result
    posted = slack.messages[OPS, result["output"]["ts"]]
    assert posted["text"] == "Uptime"
    assert "&lt;!channel&gt; up" in json.dumps(posted["blocks"])
    own = [{"type": "divider"}]
    for blocks in (own, json.dumps(own)):
        result = run("sendMessage", {**params, "message": "words", "blocks": blocks})
        posted = slack.messages[OPS, result["output"]["ts"]]
        assert (posted["text"], posted["blocks"]) == ("words", own)


def test_large_rich_messages_are_within_slacks_limits(run):
    pods = [{"name": f"p{n}", "logs": "\n".join("&<>`" * 300 for _ in range(50))} for n in range(30)]
    table = {"columns": ["&" * 40] * 20, "rows": [["<" * 400] * 20] * 400}
    for data in ({"pods": pods}, table, {"stdout": "&" * 200_000, "stderr": "\U0001f525" * 200_000}):
        result = run("sendMessage", {"channel": "ops", "messageFormat": "rich", "outputData": data})
        assert result["status"] == "success", result


# ---- what Slack refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "params", "code", "words"),
    [
        ("sendMessage", {"channel": "nowhere"}, "channel_not_found", "no such channel"),
        ("sendMessage", {"channel": "old"}, "is_archived", "archived"),
        ("sendMessage", {"channel": "secret"}, "not_in_channel", "invite the bot"),
        ("sendMessage", {"channel": "ops", "threadTs": "1.000001"}, "thread_not_found", ""),
        ("sendMessage", {"channel": "ops", "blocks": [{"type": "no"}]}, "invalid_blocks", "response_metadata"),
        ("updateMessage", {"channel": "ops", "ts": "1.000001"}, "message_not_found", "no message with that ts"),
    ],
)
def test_a_refusal_is_explained_and_slacks_reply_is_the_output(run, action, params, code, words):
    result = run(action, {"message": "m", **params})
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert code in result["error"]
    assert words in result["error"]
    assert result["output"]["ok"] is False
    assert result["output"]["error"] == code
    assert "may have been posted" not in result["error"]


def test_a_token_that_is_not_taken_is_to_be_replaced(run, entry, slack):
    result = run("sendMessage", MESSAGE, credential={**entry, "botToken": "xoxb-wrong"})
    assert "invalid_auth" in result["error"]
    assert "store a new botToken" in result["error"]
    slack.tokens[TOKEN] = {"reactions:write"}
    assert "the app needs the scope chat:write" in run("sendMessage", MESSAGE)["error"]


def test_a_reaction_that_is_there_already_is_a_success(run):
    ts = run("sendMessage", MESSAGE)["output"]["ts"]
    for words in ("was added", "was there already"):
        result = run("addReaction", {"channel": OPS, "ts": ts, "emoji": "eyes"})
        assert result["status"] == "success"
        assert words in result["output"]["message"]
    assert "no such emoji" in run("addReaction", {"channel": OPS, "ts": ts, "emoji": "nosuchemoji"})["error"]


@pytest.mark.parametrize(
    ("action", "params", "named"),
    [
        ("sendMessage", {"message": " "}, "message"),
        ("sendMessage", {"message": "x" * 40_001}, "message"),
        ("sendMessage", {"messageFormat": "rich", "message": ""}, "message"),
        ("sendMessage", {"channel": "#"}, "channel"),
        ("sendMessage", {"channel": "ops\n"}, "channel"),
        ("sendMessage", {"threadTs": "yesterday"}, "threadTs"),
        ("sendMessage", {"blocks": "{"}, "blocks"),
        ("sendMessage", {"blocks": {"type": "section"}}, "blocks"),
        ("sendMessage", {"blocks": ["section"]}, "blocks"),
        ("sendMessage", {"blocks": [{"type": "divider"}] * 51}, "blocks"),
        ("sendMessage", {"timeout": -1}, "timeout"),
        ("updateMessage", {"ts": "1.0\n"}, "ts"),
        ("updateMessage", {"ts": "1.0", "message": ""}, "message"),
        ("addReaction", {"ts": "1.0", "emoji": "two words"}, "emoji"),
        ("addReaction", {"ts": "1.0", "emoji": "::"}, "emoji"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(run, slack, action, params, named):
    result = run(action, {**MESSAGE, **params})
    assert result["exitCode"] == -1
    assert f"'{named}'" in result["error"]
    assert slack.calls == []


def test_skin_tones_are_names_too(run, slack):
    ts = run("sendMessage", MESSAGE)["output"]["ts"]
    assert run("addReaction", {"channel": OPS, "ts": ts, "emoji": ":thumbsup::skin-tone-6:"})["status"] == "success"
    assert slack.messages[OPS, ts]["reactions"] == ["thumbsup::skin-tone-6"]


# ---- where the token goes -------------------------------------------------------------------------------------------


def test_nothing_in_a_job_sends_the_token_elsewhere(run, slack, authority):
    with SlackApi(authority.server_context()) as other:
        extra = {"apiUrl": other.api_url, "connectionConfig": {"apiUrl": other.api_url, "botToken": "xoxb-of-the-job"}}
        assert run("sendMessage", {**MESSAGE, **extra})["status"] == "success"
        assert other.calls == []
    assert slack.calls[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_only_the_owner_says_where_slack_is(tmp_path, authority):
    """The entry names no address here: neither does the job."""
    job = {"apiUrl": "https://evil.test/api/", "caCertificate": authority.root.read_text()}
    harness = Harness(SlackExecutor(), tmp_path, credential={"botToken": TOKEN})
    for params in (job, {"connectionConfig": job}):
        connection = read_connection(harness.context("sendMessage", params), SlackConnection)
        assert (connection.api_url, connection.ca_certificate) == ("https://slack.com/api/", None)


def test_proxies_of_the_environment_are_not_asked(run, slack, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert run("sendMessage", MESSAGE)["status"] == "success"
    assert len(slack.calls) == 1


def test_a_server_whose_certificate_is_not_trusted_gets_nothing(run, slack, entry):
    strangers = {name: value for name, value in entry.items() if name != "caCertificate"}
    result = run("sendMessage", MESSAGE, credential=strangers)
    assert "certificate is not trusted" in result["error"]
    assert "nothing was sent" in result["error"]
    assert slack.calls == []


def test_the_address_guard_judges_the_owners_address_too(tmp_path, entry, slack):
    ran = Harness(SlackExecutor(), tmp_path, credential=entry).run("sendMessage", MESSAGE)
    assert "ALLOW_PRIVATE_NETWORK" in ran.error
    assert slack.calls == []


@pytest.mark.parametrize("wrong", [{"apiUrl": "http://slack.test/api/"}, {"botToken": "xoxb 1"}, {"botToken": ""}])
def test_an_entry_that_cannot_be_used_is_named(run, entry, wrong):
    result = run("sendMessage", MESSAGE, credential={**entry, **wrong})
    assert f"'{next(iter(wrong))}'" in result["error"]
    assert "xoxb 1" not in result["error"]


def test_the_log_shows_neither_token_nor_message(run, caplog):
    with caplog.at_level(logging.DEBUG):
        run("sendMessage", {**MESSAGE, "message": "words-of-the-message"})
    written = [record for record in caplog.records if not record.name.startswith(("httpcore", "asyncio"))]
    assert not [record for record in written if TOKEN in record.getMessage()]
    assert not [record for record in written if "words-of-the-message" in record.getMessage()]


# ---- time, 429, and what may have happened --------------------------------------------------------------------------


def test_after_a_429_it_waits_as_it_was_asked_to(run, slack):
    slack.faults += [slack.throttled(1), slack.throttled(0)]
    began = time.monotonic()
    assert run("sendMessage", MESSAGE)["status"] == "success"
    assert time.monotonic() - began >= 1
    assert len(slack.calls) == 3
    assert len(slack.messages) == 1


def test_after_three_it_gives_up_and_nothing_was_posted(run, slack):
    slack.faults += [slack.throttled(0)] * 3
    result = run("sendMessage", MESSAGE)
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert "too many messages" in result["error"]
    assert "may have been" not in result["error"]
    assert result["output"]["error"] == "ratelimited"
    assert len(slack.calls) == 3


@pytest.mark.parametrize("asked", ["30", None, "soon"])
def test_a_wait_beyond_the_limit_is_not_begun(run, slack, asked):
    slack.faults.append(slack.throttled(asked))
    assert "ratelimited" in run("sendMessage", {**MESSAGE, "timeout": 4})["error"]
    assert len(slack.calls) == 1


def test_an_answer_that_never_comes_leaves_a_doubt(run, slack):
    """Defect D16: the limit is the job's to say."""
    slack.faults.append(Silent())
    result = run("sendMessage", {**MESSAGE, "timeout": "0.5"})
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "no answer within 0.5 s; the message may have been posted" in result["error"]
    assert len(slack.calls) == 1


def test_at_the_jobs_limit_it_says_what_may_have_been(run, slack):
    slack.faults.append(Silent())
    result = run("sendMessage", MESSAGE, timeout_s=1)
    assert result["exitCode"] == -1
    assert "timed out after 1 seconds; the message may have been posted" in result["error"]


def test_a_cancelled_job_says_what_may_have_been(run, slack):
    slack.faults.append(Silent())
    result = run("sendMessage", MESSAGE, cancelled=lambda: slack.held > 0)
    assert "cancelled" in result["error"]
    assert "may have been posted" in result["error"]


def test_a_wait_for_slack_is_ended_when_the_job_is_cancelled(run, slack):
    slack.faults.append(slack.throttled(20))
    result = run("sendMessage", MESSAGE, cancelled=lambda: bool(slack.calls))
    assert "cancelled while waiting for Slack; nothing was sent" in result["error"]


@pytest.mark.parametrize(
    "fault", [Cut("before"), Cut("headers"), Cut("body"), Status(503, {}, b"<html>"), Status(200, {}, b"[]")]
)
def test_what_is_no_answer_leaves_a_doubt_and_is_not_sent_again(run, slack, fault):
    slack.faults.append(fault)
    result = run("sendMessage", MESSAGE)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "may have been posted" in result["error"]
    assert len(slack.calls) == 1


def test_slacks_own_failures_leave_a_doubt(run, slack):
    slack.faults.append(Status(200, {"Content-Type": "application/json"}, b'{"ok":false,"error":"internal_error"}'))
    assert "internal_error; the message may have been posted" in run("sendMessage", MESSAGE)["error"]


def test_where_nobody_answers_nothing_was_sent(run, entry):
    result = run("sendMessage", MESSAGE, credential={**entry, "apiUrl": f"https://localhost:{free_port()}/api/"})
    assert "no answer from localhost" in result["error"]
    assert "nothing was sent" in result["error"]
    assert result["exitCode"] == -1


def test_which_actions_may_be_repeated():
    may = {name: spec.may_repeat({}) for name, spec in SlackExecutor.actions.items()}
    assert may == {"sendMessage": False, "updateMessage": True, "addReaction": True, "testConnection": True}


# ---- the test of a connection ---------------------------------------------------------------------------------------


def test_the_test_says_who_the_token_is(run, slack):
    result = run("testConnection", {})
    assert result["status"] == "success", result
    output = result["output"]
    assert (output["team"], output["user"], output["teamId"]) == ("Subarachnoid Workspace", "bot", "T0G9PQBBK")
    assert [step["step"] for step in output["steps"]] == ["name", "tcp", "tls", "login", "permission"]
    assert all(step["ok"] for step in output["steps"])
    assert slack.messages == {}


def test_the_test_names_the_step_that_failed(run, slack, entry):
    """Defect A21: a wrong token does not pass."""
    wrong = run("testConnection", {}, credential={**entry, "botToken": "xoxb-wrong"})
    assert (wrong["status"], wrong["exitCode"]) == ("error", 1)
    assert wrong["error"].startswith("login: Slack refused auth.test: invalid_auth")
    assert wrong["output"]["error"] == "invalid_auth"
    assert wrong["output"]["steps"][-1]["ok"] is False
    slack.tokens[TOKEN] = {"reactions:write"}
    assert run("testConnection", {})["error"].startswith("permission: ")
    nobody = run("testConnection", {}, credential={**entry, "apiUrl": f"https://localhost:{free_port()}/api/"})
    assert [(step["step"], step["ok"]) for step in nobody["output"]["steps"]] == [("name", True), ("tcp", False)]
    assert "tcp: " in nobody["error"]
    stranger = run("testConnection", {}, credential={name: entry[name] for name in ("botToken", "apiUrl")})
    assert stranger["output"]["steps"][-1]["step"] == "tls"
    assert "tls: " in stranger["error"]
    slack.faults.append(Silent())
    silent = run("testConnection", {"timeout": 0.5})
    assert silent["output"]["steps"][-1] == silent["output"]["steps"][-1] | {"step": "login", "ok": False}


def test_many_at_once_do_not_wait_for_each_other(tmp_path, entry, slack):
    slack.faults.append(Silent())
    results = []

    def one():
        harness = Harness(SlackExecutor(), tmp_path, credential=entry, network_policy=INSIDE)
        results.append(harness.run("sendMessage", {**MESSAGE, "timeout": 20}).recorded["status"])

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(results) < 3:
        threads[-1].join(0.05)
    slack.over.set()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["error", "success", "success", "success"]
