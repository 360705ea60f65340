import os
import time

import pytest

from admin.status import StatusReader
from easyalert import __version__
from easyalert.queues import agent_queue, connect, enqueue
from tests.support.agent_home import API_KEY
from vault import Vault, VaultKey


@pytest.fixture
def home(make_home):
    return make_home("https://x.example", max_concurrent_jobs=3)


@pytest.fixture
def read(home):
    return StatusReader(home.settings, Vault(home.settings.vault_path, VaultKey(API_KEY))).read


def test_before_anything_has_started_everything_has_its_place(read, home):
    assert read() == {
        "agentName": "agent-of-the-tests",
        "version": __version__,
        "registered": False,
        "agentId": None,
        "paused": None,
        "pause": None,
        "controlPlane": {"url": "https://x.example", "state": "unreachable", "lastSuccessSecondsAgo": None},
        "workers": {"registered": None, "max": 3, "inFlight": None},
        "redis": {
            "state": "unavailable", "error": read()["redis"]["error"], "kind": "embedded", "queueDepth": None,
        },
        "journal": {"state": "missing", "error": read()["journal"]["error"]},
        "vault": {"state": "empty", "entries": 0, "damaged": [], "error": None},
        "policy": {
            "state": "unknown", "file": None, "inForce": None, "rules": None, "dryRun": None, "signatures": None,
            "error": None,
        },
        "lastErrors": [],
    }  # fmt: skip
    assert not home.settings.journal_path.exists()
    assert not home.settings.vault_path.exists()


@pytest.mark.system
def test_with_redis_the_queue_and_its_workers_are_counted(read, home):
    redis = home.start_redis()
    with connect(home.settings) as connection:
        queue = agent_queue(connection)
        enqueue(queue, [("job_1", "script.bash job_1", 60), ("job_2", "script.bash job_2", 60)])
        found = read()
        assert found["redis"] == {"state": "ok", "error": None, "kind": "embedded", "queueDepth": 2}
        assert found["workers"] == {"registered": 0, "max": 3, "inFlight": None}
    redis.kill()
    begun = time.monotonic()
    found = read()
    assert found["redis"]["state"] == "unavailable"
    assert time.monotonic() - begun < 20, "a look gives up after a second"


def test_registration_and_figures_come_from_the_journal(read, home):
    with home.journal() as journal:
        journal.leave_note("registration", {"agentId": "agt_7", "features": ["ack"]})
        journal.leave_note("poller", {"state": "ok", "paused": "the disk is nearly full"})
    found = read()
    assert found["paused"] == "the disk is nearly full"
    assert (found["registered"], found["agentId"]) == (True, "agt_7")
    assert found["journal"]["state"] == "ok"
    assert {
        "executed",
        "failed",
        "executedLastHour",
        "failedLastHour",
        "inFlight",
        "waiting",
        "undelivered",
        "rejected",
    } <= set(found["journal"])
    assert found["workers"]["inFlight"] == 0


@pytest.mark.parametrize("note", [{}, [], "agt_7", 7, {"agentId": 5}])
def test_a_strange_registration_is_none(read, home, note):
    with home.journal() as journal:
        journal.leave_note("registration", note)
    assert read()["registered"] is False


def test_a_damaged_journal_is_told_and_the_rest_still_answered(read, home):
    home.settings.journal_path.write_bytes(b"no database at all" * 100)
    found = read()
    assert found["journal"]["state"] == "unavailable"
    assert "damaged" in found["journal"]["error"]
    assert found["vault"]["state"] == "empty"


@pytest.mark.parametrize(("age", "state"), [(1, "ok"), (89, "ok"), (95, "unreachable")])
def test_the_control_plane_is_as_reachable_as_its_last_answer_is_young(read, home, age, state):
    home.settings.heartbeat_file.touch()
    moment = time.time() - age
    os.utime(home.settings.heartbeat_file, (moment, moment))
    found = read()["controlPlane"]
    assert found["state"] == state
    assert age <= found["lastSuccessSecondsAgo"] < age + 5


def test_last_errors_newest_first_whatever_else_is_noted(read, home):
    now = time.time()
    with home.journal() as journal:
        journal.leave_note(
            "poller", {"state": "ok", "lastError": "no route to the control plane", "lastErrorAt": now - 60}
        )
        journal.leave_note("heartbeat", {"lastError": "time-out", "lastErrorAt": now - 5})
        journal.leave_note("workers", {"lastError": "undated"})
    errors = read()["lastErrors"]
    assert [(error["process"], error["error"]) for error in errors] == [
        ("heartbeat", "time-out"), ("poller", "no route to the control plane"), ("workers", "undated"),
    ]  # fmt: skip
    assert 60 <= errors[1]["secondsAgo"] < 65


def test_a_locked_vault_is_seen(read, home):
    Vault(home.settings.vault_path, VaultKey("other")).put("a", {})
    found = read()["vault"]
    assert (found["state"], found["entries"]) == ("locked", 1)
    assert "AGENT_API_KEY" in found["error"]


def test_no_secret_is_in_it(read, home):
    Vault(home.settings.vault_path, VaultKey(API_KEY)).put("a", {"password": "s3cret-value"})
    text = repr(read())
    assert API_KEY not in text
    assert "s3cret" not in text
