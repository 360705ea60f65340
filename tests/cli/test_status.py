from __future__ import annotations

import json

import pytest

from cli import status
from easyalert.runtime import EXIT_DEGRADED, EXIT_NOT_RUNNING, EXIT_OK
from tests.support.waiting import eventually

STATE = {
    "agentName": "edge-1",
    "version": "0.2.0",
    "stateDir": "/home/x/.easyalert",
    "running": True,
    "pid": 7,
    "agentId": "agt_1",
    "features": [],
    "paused": None,
    "pause": None,
    "poller": "ok",
    "controlPlane": {
        "url": "http://h",
        "state": "ok",
        "lastSuccessSecondsAgo": 3.0,
        "lastError": None,
        "lastErrorSecondsAgo": None,
    },
    "programs": [
        {"name": "poller", "state": "RUNNING", "pid": 11, "uptimeSeconds": 7300},
        {"name": "workers", "state": "BACKOFF", "pid": None, "uptimeSeconds": None},
    ],
    "jobs": {
        "state": "ok",
        "error": None,
        "running": 2,
        "waiting": 1,
        "undelivered": 4,
        "rejected": 0,
        "executed": 20,
        "failed": 5,
        "executedLastHour": 6,
        "failedLastHour": 1,
    },
    "redis": {"kind": "embedded", "state": "ok", "queued": 1, "error": None},
    "vault": {"state": "ok", "entries": 3, "error": None},
    "policy": {
        "state": "ok",
        "error": None,
        "file": "/etc/easyalert/policy.toml",
        "inForce": True,
        "rules": 3,
        "dryRun": False,
        "signatures": "require",
    },
    "isolation": {
        "mode": "none",
        "asked": "none",
        "exposed": ["vault"],
        "reason": None,
        "sentence": "none: a script can",
    },
    "problems": [],
    "hints": [],
}
PROBLEM = {"sentence": "workers does not run (BACKOFF)", "next": "read the log"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [({}, EXIT_OK), ({"problems": [PROBLEM]}, EXIT_DEGRADED), ({"running": False}, EXIT_NOT_RUNNING)],
)
def test_exit_codes(changes, code):
    assert status.exit_code({**STATE, **changes}) == code


def test_people_see_everything_of_interest():
    text = "\n".join(status.view({**STATE, "problems": [PROBLEM]}))
    for part in (
        *("edge-1", "needs attention", "agt_1 (base protocol)", "answered 3 s ago"),
        *("2 running, 1 waiting, 4 results to deliver; last hour 6 ended, 1 of them failed"),
        *("pid 11", "for 2 h 1 min", "backoff", "embedded, ok", "ok, 3 credentials"),
        "none: a script can",
        *("! workers does not run (BACKOFF)", "next: read the log"),
    ):
        assert part in text
    assert "\x1b" not in text


def test_an_error_newer_than_the_last_success_is_shown():
    plane = {**STATE["controlPlane"], "lastError": "HTTP 503", "lastErrorSecondsAgo": 1.0}
    assert "HTTP 503" in "\n".join(status.view({**STATE, "controlPlane": plane}))
    plane["lastErrorSecondsAgo"] = 600.0
    assert "HTTP 503" not in "\n".join(status.view({**STATE, "controlPlane": plane}))


def test_foreign_words_cannot_steer_the_terminal():
    text = "\n".join(status.view({**STATE, "agentId": "\x1b[2J", "problems": [{"sentence": "\x07", "next": "\x1b"}]}))
    assert "\x1b" not in text
    assert "\x07" not in text


@pytest.mark.system
def test_healthy_then_gone(agent_on, plain_server):
    agent = agent_on(plain_server.url)
    before = agent.command("status")
    assert (before.returncode, before.stderr) == (EXIT_NOT_RUNNING, "")
    assert "not running" in before.stdout
    assert not agent.state_dir.exists()
    agent.start()
    agent.running()
    eventually(lambda: agent.command("status").returncode == EXIT_OK, within=20, what=f"health; {agent.log}")
    found = json.loads(agent.command("status", "--json").stdout)
    assert found["exitCode"] == EXIT_OK
    assert found["agentId"] == "agt_1"
    assert found["pid"] == agent.pid
    assert {program["name"] for program in found["programs"]} == {"redis", "admin", "heartbeat", "poller", "workers"}
    assert found["stateDir"] == str(agent.state_dir)
    # an operator's shell, without the agent's secrets
    bare = agent.command("status", "--json", AGENT_API_URL="", AGENT_API_KEY="")
    assert bare.returncode == EXIT_OK
    assert json.loads(bare.stdout)["vault"]["state"] == "unknown"
    assert agent.stop() == 0
    assert agent.command("status").returncode == EXIT_NOT_RUNNING


@pytest.mark.system
def test_an_agent_without_its_control_plane_is_degraded(agent_on):
    agent = agent_on("http://127.0.0.1:1").start()
    agent.running("poller", "redis")
    done = agent.command("status")
    assert done.returncode == EXIT_DEGRADED
    assert "not registered" in done.stdout
    assert "curl" in done.stdout
