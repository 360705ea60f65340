from __future__ import annotations

import os
import time

import pytest

from cli import lock, state
from easyalert.files import private_folder
from easyalert.journal import Journal
from vault import Vault, VaultKey


@pytest.fixture
def settings(settings_of, short_dir):
    settings = settings_of(short_dir / "state", heartbeat_interval=10)
    private_folder(settings.run_dir)
    return settings


@pytest.fixture
def running(settings):
    held = lock.hold(settings.lock_path)
    yield settings
    os.close(held)


def notes(settings, **values):
    with Journal(settings.journal_path) as journal:
        for name, value in values.items():
            journal.leave_note(name, value)


def programs(monkeypatch, **states):
    rows = [
        {"name": name, "statename": word, "pid": 7 if word == "RUNNING" else 0, "start": 100, "now": 160}
        for name, word in states.items()
    ]
    monkeypatch.setattr(state, "process_table", lambda _: rows)


def test_before_the_first_start_nothing_is_made(settings):
    found = state.collect(settings)
    assert (found["running"], found["jobs"]["state"], found["redis"]["state"]) == (False, "missing", "stopped")
    assert found["problems"] == []
    assert not settings.journal_path.exists()
    assert not settings.vault_path.exists()


def test_a_running_agent(running, monkeypatch):
    notes(
        running,
        registration={"agentId": "agt_1", "features": ["ack"], "at": time.time()},
        heartbeat={"lastSuccessAt": time.time() - 5},
        poller={"state": "ok", "paused": None, "lastPollAt": None, "lastError": None},
    )
    programs(monkeypatch, poller="RUNNING", workers="RUNNING")
    found = state.collect(running)
    assert (found["running"], found["pid"], found["agentId"], found["features"]) == (
        True,
        os.getpid(),
        "agt_1",
        ["ack"],
    )
    assert found["controlPlane"]["state"] == "ok"
    assert 4 < found["controlPlane"]["lastSuccessSecondsAgo"] < 8
    assert found["programs"][0] == {"name": "poller", "state": "RUNNING", "pid": 7, "uptimeSeconds": 60}
    assert found["vault"]["state"] == "empty"
    assert [problem["sentence"] for problem in found["problems"]] == ["Redis does not answer"]


def test_silence_for_three_intervals_is_a_problem(running, monkeypatch):
    notes(
        running,
        registration={"agentId": "agt_1", "features": []},
        heartbeat={"lastSuccessAt": time.time() - 31, "lastError": "HTTP 503", "lastErrorAt": time.time() - 2},
    )
    programs(monkeypatch, poller="RUNNING")
    found = state.collect(running)
    assert found["controlPlane"]["state"] == "unreachable"
    assert found["controlPlane"]["lastError"] == "HTTP 503"
    assert any("has not answered lately: HTTP 503" in problem["sentence"] for problem in found["problems"])


def test_the_vault_is_opened_with_the_key_at_hand(settings, settings_of):
    Vault(settings.vault_path, VaultKey("another key")).put("conn-1", {"a": "b"})
    found = state.collect(settings)["vault"]
    assert (found["state"], found["entries"]) == ("locked", 1)
    assert found["error"]
    without = settings_of(settings.state_dir, agent_api_key="")
    assert state.collect(without)["vault"]["state"] == "unknown"


def test_a_damaged_journal_is_said_not_raised(settings):
    settings.journal_path.write_bytes(b"no database" * 1000)
    found = state.collect(settings)
    assert found["jobs"]["state"] == "unavailable"
    assert "damaged" in found["jobs"]["error"]


def test_odd_notes_are_no_notes(settings):
    notes(settings, registration="agt_1", heartbeat=[1], poller=7)
    assert state.collect(settings)["agentId"] is None


@pytest.mark.system
def test_redis_is_asked(embedded, monkeypatch):
    held = lock.hold(embedded.settings.lock_path)
    programs(monkeypatch, redis="RUNNING")
    assert state.collect(embedded.settings)["redis"] == {"kind": "embedded", "state": "ok", "queued": 0, "error": None}
    os.close(held)
