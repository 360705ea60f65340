"""The poller as a real process against the plain server and a real Redis; the workers' part is played by the test."""

from __future__ import annotations

import time

import pytest

from easyalert.journal import State
from easyalert.queues import agent_queue, connect, queued_keys
from easyalert.runtime import this_process
from easyalert.wakeup import notify
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


def job(number, **more):
    return {"jobId": f"job_{number}", "actionType": "script.bash", "params": {"command": "true"}, **more}


def result(job_id, **more):
    return {
        "jobId": job_id,
        "status": "success",
        "output": None,
        "error": None,
        "exitCode": 0,
        "durationMs": 1,
        **more,
    }


@pytest.fixture
def home(make_home, plain_server):
    home = make_home(plain_server.url)
    home.start_redis()
    with home.journal() as journal:
        journal.leave_note("capabilities", ["http", "script"])
    return home


@pytest.fixture
def journal(home):
    with home.journal() as journal:
        yield journal


def keys_in_redis(home):
    with connect(home.settings) as connection:
        return queued_keys(agent_queue(connection))


def work(home, journal, *keys):
    """What a worker does."""
    for key in keys:
        row = journal.start(key, this_process())
        assert row is not None
        journal.finish(key, result(row.job_id))
    notify(home.settings.wakeup_socket)


def test_a_job_is_taken_journalled_enqueued_and_reported(home, plain_server, journal):
    began = time.monotonic()
    poller = home.start("poller")
    plain_server.wait_for(lambda: plain_server.of("poll"))
    assert time.monotonic() - began < 3
    registered = plain_server.of("register")[0].document
    assert registered["capabilities"] == ["http", "script"]
    assert registered["maxConcurrentJobs"] == 5
    assert registered["features"]
    assert registered["publicKey"]

    plain_server.give(job(1), job(2))
    eventually(lambda: keys_in_redis(home) == {"job_1", "job_2"})
    assert [row.state for row in journal.queued()] == [State.QUEUED] * 2
    assert b"true" not in (journal.get("job_1").sealed or b"")
    work(home, journal, "job_2")
    plain_server.wait_for(lambda: "job_2" in plain_server.results, within=1)
    work(home, journal, "job_1")
    plain_server.wait_for(lambda: "job_1" in plain_server.results, within=1)
    eventually(lambda: journal.get("job_1").state is State.ACKED)
    assert journal.note("registration")["agentId"] == "agt_1"
    assert journal.note("registration")["features"] == []
    assert journal.note("poller")["state"] == "ok"
    assert poller.terminate(within=2) == 0
    assert [len(found) for found in plain_server.results.values()] == [1, 1]
