"""The jira executor against a site that follows Atlassian's published API (contract 3.7)."""

from __future__ import annotations

import asyncio
import base64
from typing import ClassVar

import pytest

from easyalert.errors import TargetError
from easyalert.netguard.judge import NetworkPolicy
from tests.support.faults import Cut, Silent, Slow, Status, too_many_requests
from tests.support.jira_api import JiraSite
from tests.support.ports import free_port
from tests.support.tls import throwaway_authority
from workers.executors.jira import JiraExecutor
from workers.sdk import read_connection
from workers.sdk.executor_contract import ExecutorContract
from workers.sdk.harness import Harness
from workers.sdk.jira_call import ATTEMPTS, JiraCall, JiraConnection

TOKEN = "token-of-ada-0123456789"
ISSUE = {"projectKey": "OPS", "summary": "Disk full"}
SAMPLES = {
    "createIssue": ISSUE,
    "updateIssue": {"issueKey": "OPS-1", "summary": "Disk nearly full"},
    "addComment": {"issueKey": "OPS-1", "comment": "It is."},
    "transitionIssue": {"issueKey": "OPS-1", "transitionId": "11"},
    "testConnection": {},
}


class TestContract(ExecutorContract):
    """What every executor promises; the samples meet a closed port."""

    executor = JiraExecutor
    samples: ClassVar = SAMPLES

    def harness(self, tmp_path):
        credential = {"baseUrl": "https://127.0.0.1:1", "email": "ada@example.com", "apiToken": TOKEN}
        return Harness(
            self.executor(), tmp_path, credential=credential, network_policy=NetworkPolicy(allow_private=True)
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return throwaway_authority(tmp_path_factory.mktemp("tls"), "localhost")


@pytest.fixture
def site(authority):
    with JiraSite(authority.server_context()) as site:
        yield site


@pytest.fixture
def ask(site, authority, tmp_path):
    def run(name, params=None, *, entry=None, timeout_s=30, cancelled=lambda: False, private=True, **more):
        whole = {"baseUrl": site.url, "email": "ada@example.com", "apiToken": TOKEN}
        credential = {**(whole if entry is None else entry), "caCertificate": authority.root.read_text(), **more}
        policy = NetworkPolicy(allow_private=private)
        harness = Harness(JiraExecutor(), tmp_path, credential=credential, network_policy=policy, cancelled=cancelled)
        recorded = harness.run(name, {**SAMPLES[name], **(params or {})}, timeout_s=timeout_s).recorded
        assert TOKEN not in str(recorded)
        assert base64.b64encode(f"ada@example.com:{TOKEN}".encode()).decode() not in str(recorded)
        return recorded

    return run


# ---- what each action does ------------------------------------------------------------------------------------------


def test_an_issue_is_created(site, ask):
    more = {
        "issueType": "Bug", "description": "First line\nsecond line\n\nA new paragraph", "priority": "High",
        "labels": ["disk", "db-2"], "assignee": "5b10a2844c20165700ede21g",
    }  # fmt: skip
    result = ask("createIssue", more)
    assert (result["status"], result["exitCode"], result["error"]) == ("success", 0, None), result
    url = f"{site.url}/browse/OPS-1"
    assert result["output"] == {
        "issueId": "10001", "issueKey": "OPS-1", "url": url, "message": "issue OPS-1 was created",
    }  # fmt: skip
    fields = site.issues["OPS-1"].fields
    assert fields["labels"] == ["disk", "db-2"]
    assert fields["assignee"] == {"accountId": "5b10a2844c20165700ede21g"}
    assert fields["description"]["content"] == [
        {
            "type": "paragraph",
            "content": [
                {"type": "text", "text": "First line"}, {"type": "hardBreak"}, {"type": "text", "text": "second line"},
            ],
        },
        {"type": "paragraph", "content": [{"type": "text", "text": "A new paragraph"}]},
    ]  # fmt: skip


def test_the_least_that_makes_an_issue(site, ask):
    empty = {"description": " ", "priority": "", "labels": "", "assignee": None, "issueType": ""}
    assert ask("createIssue", empty)["status"] == "success"
    assert site.seen[-1][3] == {
        "fields": {"summary": "Disk full", "project": {"key": "OPS"}, "issuetype": {"name": "Task"}}
    }


def test_an_issue_is_changed_commented_and_moved_on(site, ask):
    ask("createIssue", {"labels": "old"})
    changed = ask("updateIssue", {"labels": "disk, db-2", "priority": "Low", "summary": None})
    assert changed["output"] == {"issueKey": "OPS-1", "message": "issue OPS-1 was changed"}
    fields = site.issues["OPS-1"].fields
    assert (fields["labels"], fields["priority"], fields["summary"]) == (["disk", "db-2"], {"name": "Low"}, "Disk full")
    said = ask("addComment")
    assert said["output"] == {"commentId": "20001", "issueKey": "OPS-1", "message": "a comment was added to OPS-1"}
    moved = ask("transitionIssue", {"transitionId": 11})
    assert moved["output"] == {"issueKey": "OPS-1", "message": "transition 11 of OPS-1 was made"}
    assert site.issues["OPS-1"].status == "In Progress"


def test_the_connection_is_tested_with_its_token(ask):
    result = ask("testConnection")
    assert result["status"] == "success", result
    output = result["output"]
    assert (output["displayName"], output["emailAddress"], output["accountId"]) == (
        "Ada", "ada@example.com", "id-of-ada@example.com",
    )  # fmt: skip
    assert [(step["step"], step["ok"]) for step in output["steps"]] == [
        ("name", True), ("tcp", True), ("tls", True), ("login", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "failed", "says"),
    [
        ({"apiToken": "wrong-token-of-ada"}, "login", "check the connection's email and apiToken"),
        ({"baseUrl": "https://127.0.0.1:{closed}"}, "tcp", "no answer from https://127.0.0.1"),
        ({"baseUrl": "https://127.0.0.1:{port}"}, "tls", "certificate of https://127.0.0.1:{port} is not trusted"),
        ({"baseUrl": "https://no-such-name.invalid"}, "name", "no-such-name.invalid"),
    ],
)
def test_a_failed_test_says_how_far_it_came(site, ask, change, failed, says):
    """Defect A21."""
    marks = {"closed": free_port(), "port": site.url.rpartition(":")[2]}
    change = {name: value.format(**marks) for name, value in change.items()}
    result = ask("testConnection", **change)
    assert result["status"] == "error"
    assert says.format(**marks) in result["error"]
    steps = result["output"]["steps"]
    assert [step["step"] for step in steps if not step["ok"]] == [failed]
    assert steps[-1]["step"] == failed


# ---- labels (defect D16) --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", ["disk,db-2", " disk , db-2,", '["disk", "db-2"]', ["disk", "db-2"]])
def test_labels_may_be_a_text(site, ask, labels):
    ask("createIssue", {"labels": labels})
    assert site.issues["OPS-1"].fields["labels"] == ["disk", "db-2"]


@pytest.mark.parametrize("labels", ["two words", ["two words"], ["a\n"], [True], [["a"]], ["x" * 256], '["a"', 7, [""]])
def test_a_label_that_cannot_be_one_is_never_left_out(site, ask, labels):
    for name in ("createIssue", "updateIssue"):
        result = ask(name, {"labels": labels})
        assert (result["status"], result["exitCode"]) == ("error", -1)
        assert "'labels" in result["error"], result
    assert site.seen == []


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("createIssue", {"projectKey": value})
        for value in ("ops", "O", "OPS\n", "ABCDEFGHIJK", "1OPS", "../x", "O P", "ÖPS")
    ]
    + [
        ("updateIssue", {"issueKey": value})
        for value in ("OPS", "OPS-", "ops-1", "OPS-1\n", "OPS-12345678901", "OPS-1/../..", "OPS-1?x=1", "OPS-\u0661")
    ]
    + [("transitionIssue", {"transitionId": value}) for value in ("Done", "11\n", "", True, -1, 1.5)]
    + [("createIssue", {"summary": value}) for value in ("a\nb", "a\n", " ", "x" * 256)]
    + [("addComment", {"comment": value}) for value in ("", " \n", "x" * 32_768, "a\0b")],
)
def test_what_is_wrong_is_named_and_nothing_is_sent(site, ask, name, wrong):
    result = ask(name, wrong)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert f"'{next(iter(wrong))}'" in result["error"]
    assert site.seen == []


def test_an_update_of_nothing_is_refused(site, ask):
    result = ask("updateIssue", {"summary": "", "labels": []})
    assert "'summary' is required (or description, priority, or labels)" in result["error"]
    assert site.seen == []


# ---- the token (defect C2) ------------------------------------------------------------------------------------------


def test_the_token_goes_to_its_own_site_only(site, ask, authority):
    """Defect C2."""
    with JiraSite(authority.server_context()) as other:
        for params in ({"baseUrl": other.url}, {"connectionConfig": {"baseUrl": other.url}}):
            result = ask("testConnection", params)
            assert (result["status"], result["exitCode"]) == ("error", -1)
            assert "belongs to https://localhost" in result["error"]
        assert other.seen == []
    assert site.seen == []


def test_a_token_alone_is_bound_to_the_first_site(site, authority, tmp_path):
    """Defect C2: the vault holds the token, the job the rest."""
    bound = []
    credential = {"apiToken": TOKEN, "caCertificate": authority.root.read_text()}
    harness = Harness(JiraExecutor(), tmp_path, credential=credential, network_policy=NetworkPolicy(allow_private=True))
    whole = {**ISSUE, "baseUrl": site.url, "username": "ada@example.com"}
    context = harness.context

    def with_bind(*args, **more):
        ctx = context(*args, **more)
        ctx.bind = lambda _connection, _entry, address: bound.append(address)
        return ctx

    harness.context = with_bind
    assert harness.run("createIssue", whole).recorded["status"] == "success"
    assert bound == [site.url]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"baseUrl": "http://localhost:1"}, "must start with https://"),
        ({"baseUrl": "example.atlassian.net"}, "must start with http:// or https://"),
        ({"baseUrl": "https://ada:x@example.atlassian.net"}, "user name or password"),
        ({"baseUrl": "https://example.atlassian.net/?x=1"}, "must have no query"),
        ({"baseUrl": "https://example.atlassian.net\r\nX: y"}, "'baseUrl'"),
        ({"baseUrl": ""}, "has no 'baseUrl'"),
        ({"email": ""}, "needs an 'email'"),
        ({"email": "a:b"}, "colon"),
        ({"apiToken": ""}, "has no 'apiToken'"),
        ({"caCertificate": "x"}, "no certificate in PEM"),
    ],
)
def test_a_connection_that_cannot_be_used_is_explained(site, ask, change, says):
    result = ask("createIssue", **change)
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert says in result["error"]
    assert site.seen == []


def test_a_private_address_is_refused_unless_the_owner_opens_it(site, ask):
    """Defect C10."""
    result = ask("createIssue", private=False)
    assert "refused" in result["error"]
    assert site.seen == []


def test_a_job_brings_no_authority_of_its_own(site, authority, tmp_path):
    """Else whoever writes jobs could read the token on its way."""
    credential = {"baseUrl": site.url, "email": "ada@example.com", "apiToken": TOKEN}
    harness = Harness(JiraExecutor(), tmp_path, credential=credential, network_policy=NetworkPolicy(allow_private=True))
    ran = harness.run("testConnection", {"caCertificate": authority.root.read_text(), "verifyTls": False})
    assert "is not trusted" in ran.error
    assert site.seen == []


# ---- what Jira refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "status", "says"),
    [
        ("createIssue", {"projectKey": "NOPE"}, 400, "project: valid project is required"),
        ("createIssue", {"issueType": "Nope"}, 400, "issuetype: Specify a valid issue type"),
        ("createIssue", {"priority": "Nope"}, 400, "priority: Specify"),
        ("updateIssue", {"issueKey": "OPS-9"}, 404, "or the account may not see it): Issue does not exist"),
        ("transitionIssue", {"transitionId": "31"}, 400, "not valid for the current state"),
    ],
)
def test_what_jira_says_is_told(ask, name, params, status, says):
    ask("createIssue")
    result = ask(name, params)
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert result["output"]["statusCode"] == status
    assert f"answered {status}" in result["error"]
    assert says in result["error"]
    assert len(result["error"]) <= 500


def test_an_account_without_permission_is_told_apart_from_a_wrong_token(site, ask):
    ask("createIssue")
    reader = {"baseUrl": site.url, "email": "reader@example.com", "apiToken": "token-of-reader-0123456"}
    assert "answered 403 (the account may not do this): You do not have" in ask("addComment", entry=reader)["error"]
    wrong = ask("addComment", apiToken="wrong-token-0123456")
    assert wrong["output"]["statusCode"] == 401
    assert wrong["output"]["body"] == "Client must be authenticated to access this resource."


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Status(409, {}, b""), "answered 409"),
        (Status(413, {}, b"x" * 100_000), "answered 413"),
        (Status(302, {"Location": "https://evil.example/"}, b""), "answered 302 (a redirect, which is not followed"),
        (Status(200, {}, b"<html>Log in</html>"), "answered 200"),
        (Status(201, {}, b"<html>Log in</html>"), "not as Jira does; the issue may have been created"),
        (Status(201, {"Content-Type": "application/json"}, b'{"id": 1, "key": "../x"}'), "not as Jira does"),
        (Status(400, {"Content-Type": "application/json"}, b'{"errors": {"a": NaN}}'), "answered 400: a: null"),
        (Status(400, {"Content-Type": "application/json"}, b"[" * 100_000), "answered 400"),
        (Status(400, {"Content-Type": "application/json"}, b'"\\ud800"'), "answered 400"),
        (Status(503, {}, b"down"), "answered 503: down; the issue may have been created"),
    ],
)
def test_odd_answers_are_errors_and_short(site, ask, fault, says):
    site.faults = [fault]
    result = ask("createIssue")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert says in result["error"]
    assert result["output"]["statusCode"] == fault.code
    assert len(result["output"]["body"]) <= 8_192
    assert len(site.seen) == 1


def test_a_token_in_an_answer_is_taken_out(site, ask):
    echo = base64.b64encode(f"ada@example.com:{TOKEN}".encode()).decode()
    site.faults = [Status(400, {}, f"{'x' * 480} {TOKEN} {echo}".encode())]
    result = ask("createIssue")
    assert "[REDACTED]" in result["output"]["body"]


# ---- pauses (defect D16) --------------------------------------------------------------------------------------------


def test_a_pause_that_jira_asks_for_is_made(site, ask):
    """Defect D16."""
    site.faults = [too_many_requests("0"), too_many_requests("0.01"), too_many_requests("0")]
    assert ask("createIssue")["status"] == "success"
    assert len(site.seen) == ATTEMPTS
    assert len(site.issues) == 1


@pytest.mark.parametrize("pause", ["3600", "1e999", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_pause_beyond_the_action_is_not_waited_for(site, ask, pause):
    site.faults = [too_many_requests(pause)]
    result = ask("addComment")
    assert (result["status"], result["exitCode"]) == ("error", 1)
    assert result["output"]["statusCode"] == 429
    assert "asks for a pause of" in result["error"]
    assert "send the job again later" in result["error"]
    assert len(site.seen) == 1


def test_it_gives_up_after_some_attempts(site, ask):
    site.faults = [too_many_requests("0")] * 9
    assert ask("createIssue")["output"]["statusCode"] == 429
    assert len(site.seen) == ATTEMPTS


# ---- time, cancel, doubt --------------------------------------------------------------------------------------------


def test_an_issue_that_may_exist_is_said_to(site, ask):
    site.faults = [Cut("headers")]
    result = ask("createIssue")
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert "the issue may have been created" in result["error"]
    assert len(site.issues) == 1
    assert len(site.seen) == 1


def test_nothing_was_sent_and_it_is_said(ask):
    result = ask("createIssue", baseUrl=f"https://localhost:{free_port()}")
    assert result["exitCode"] == -1
    assert result["error"].endswith("nothing was changed")


def test_the_actions_own_limit(site, ask):
    """Defect D16: not a fixed 30 s."""
    site.faults = [Silent()]
    result = ask("addComment", {"timeout": "0.5", "issueKey": "OPS-1"})
    assert "gave no complete answer within 0.5 s; the comment may have been added" in result["error"]


def test_the_jobs_limit(site, ask):
    site.faults = [Silent()]
    result = ask("transitionIssue", timeout_s=1)
    assert "timed out after 1 seconds; the transition may have been made" in result["error"]


def test_a_cancelled_job_says_what_may_have_happened(site, ask):
    site.faults = [Silent()]
    result = ask("updateIssue", cancelled=lambda: bool(site.held))
    assert "cancelled while Jira was asked; the issue may have been changed" in result["error"]


def test_what_has_an_answer_is_not_in_doubt(site, authority, tmp_path):
    credential = {
        "baseUrl": site.url, "email": "ada@example.com", "apiToken": TOKEN, "caCertificate": authority.root.read_text(),
    }  # fmt: skip
    harness = Harness(JiraExecutor(), tmp_path, credential=credential, network_policy=NetworkPolicy(allow_private=True))
    ctx = harness.context("testConnection", {})
    call = JiraCall(ctx, read_connection(ctx, JiraConnection), 20)
    site.faults = [too_many_requests("3600")]
    assert asyncio.run(call.ask("GET", "myself")).asks_to_wait_s == 3600
    assert not call.in_doubt
    site.faults = [Cut("before")]
    with pytest.raises(TargetError):
        asyncio.run(call.ask("GET", "myself"))
    assert call.in_doubt


def test_a_job_is_cancelled_during_a_pause_too(site, ask):
    site.faults = [too_many_requests("20")]
    result = ask("addComment", cancelled=lambda: bool(site.seen))
    assert result["exitCode"] == -1
    assert "cancelled" in result["error"]


def test_a_slow_answer_is_waited_for(site, ask):
    site.faults = [Slow(0.3)]
    assert ask("createIssue", {"timeout": "20"})["status"] == "success"
