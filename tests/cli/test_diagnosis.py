from __future__ import annotations

import pytest

from cli.diagnosis import hints, problems
from cli.looking import UNSET_URL


@pytest.fixture
def settings(settings_of, tmp_path):
    return settings_of(tmp_path)


def healthy(**changes):
    return {
        "running": True,
        "agentId": "agt_1",
        "paused": None,
        "keyInUse": None,
        "pause": None,
        "poller": "ok",
        "controlPlane": {"state": "ok", "lastError": None},
        "programs": [{"name": "poller", "state": "RUNNING"}],
        "jobs": {"state": "ok", "error": None, "rejected": 0, "undelivered": 0},
        "redis": {"state": "ok"},
        "vault": {"state": "ok", "error": None},
        "policy": {"state": "ok", "error": None},
        "isolation": {"mode": "userns", "asked": "auto", "exposed": [], "reason": None, "sentence": "userns: …"},
        **changes,
    }


def test_a_healthy_agent_has_none(settings):
    assert problems(settings, healthy()) == []
    assert hints(healthy()) == []


@pytest.mark.parametrize(
    ("changes", "sentence", "command"),
    [
        ({"programs": []}, "supervisord does not answer", "journalctl"),
        ({"programs": [{"name": "workers", "state": "FATAL"}]}, "workers does not run (FATAL)", "journalctl"),
        ({"programs": [{"name": "workers", "state": "STARTING"}]}, "workers is starting", "easyalert-agent status"),
        (
            {"agentId": None, "controlPlane": {"state": "unreachable", "lastError": "HTTP 401"}},
            "not registered with the control plane yet: HTTP 401",
            "AGENT_API_KEY",
        ),
        ({"agentId": None, "keyInUse": "this agent key is in use by h"}, "in use by h", "agents create NAME"),
        ({"controlPlane": {"state": "unreachable", "lastError": None}}, "has not answered lately", "curl"),
        ({"paused": "the disk is full"}, "no new jobs are taken: the disk is full", "df -h"),
        ({"redis": {"state": "unavailable"}}, "Redis does not answer", "journalctl"),
        ({"jobs": {"state": "unavailable", "error": "damaged"}}, "damaged", "journalctl"),
        (
            {"policy": {"state": "broken: every job is refused", "error": "policy.toml, line 3: no"}},
            "policy: broken: every job is refused: policy.toml, line 3: no",
            "easyalert-agent policy show",
        ),
        ({"vault": {"state": "locked", "error": "wrong key"}}, "wrong key", "vault.json"),
    ],
)
def test_each_problem_says_what_to_run_next(settings, changes, sentence, command):
    (found,) = problems(settings, healthy(**changes))
    assert sentence in found["sentence"]
    assert command in found["next"]


def test_without_a_url_nobody_is_told_to_ask_the_stand_in(settings_of, tmp_path):
    settings = settings_of(tmp_path, agent_api_url=UNSET_URL)
    (found,) = problems(settings, healthy(agentId=None))
    assert UNSET_URL not in found["next"]
    assert "AGENT_API_URL" in found["next"]


def test_scripts_that_are_refused_are_a_problem_and_those_that_are_open_a_hint(settings):
    refused = {
        "mode": "refused",
        "asked": "userns",
        "exposed": [],
        "reason": "no",
        "sentence": "scripts are refused: no",
    }
    assert [found["sentence"] for found in problems(settings, healthy(isolation=refused))] == [
        "scripts are refused: no"
    ]
    bare = {"mode": "none", "asked": "auto", "exposed": ["vault"], "reason": "userns: no", "sentence": "none"}
    assert problems(settings, healthy(isolation=bare)) == []
    assert [found["sentence"] for found in hints(healthy(isolation=bare))] == ["scripts are not isolated: userns: no"]
    assert hints(healthy(isolation={**bare, "asked": "none"})) == [], "that is what the operator wanted"


def test_hints_degrade_nothing():
    state = healthy(jobs={"state": "ok", "rejected": 2, "undelivered": 3}, running=False)
    assert [hint["next"] for hint in hints(state)] == ["easyalert-agent jobs --rejected", "easyalert-agent run"]


def test_what_the_poller_says_is_shown_while_everything_else_is_well():
    """Heartbeats may be answered by a page that answers everything; results are not."""
    state = healthy(poller="its answer is not JSON", jobs={"state": "ok", "undelivered": 3})
    (hint,) = hints(state)
    assert hint["sentence"] == "the poller does not get on: its answer is not JSON; 3 results wait to be delivered"
    assert hints(healthy(poller=None)) == []
