"""The poller as a real process against real servers; the workers' part is played by the test."""

from __future__ import annotations

import os
import signal
import time

import pytest

from easyalert.journal import Journal, State
from easyalert.queues import agent_queue, connect, queued_keys
from easyalert.runtime import this_process
from easyalert.wakeup import notify
from tests.poller.conftest import job, new_job, result
from tests.support.extended_server import ExtendedServer
from tests.support.faults import Cut, Slow, Status
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


class Agent:
    """A home with Redis, its journal, and a poller to start and kill."""

    def __init__(self, home):
        self.home = home
        home.start_redis()
        self.journal = home.journal()
        self.journal.leave_note("capabilities", ["http", "script"])
        self.poller = None

    def start(self):
        self.poller = self.home.start("poller")
        return self.poller

    def in_redis(self):
        with connect(self.home.settings) as connection:
            return queued_keys(agent_queue(connection))

    def begin(self, *keys):
        for key in keys:
            assert self.journal.start(key, this_process()) is not None

    def finish(self, *keys):
        for key in keys:
            assert self.journal.finish(key, result(key))
        notify(self.home.settings.wakeup_socket)

    def state(self, key):
        row = self.journal.get(key)
        return row and row.state

    def states(self, *keys):
        return {self.state(key) for key in keys}


@pytest.fixture
def make_agent(make_home):
    agents = []

    def make(server, **settings):
        agents.append(Agent(make_home(server.url, **settings)))
        return agents[-1]

    yield make
    for agent in agents:
        agent.journal.close()


@pytest.fixture
def agent(make_agent, plain_server):
    return make_agent(plain_server)


@pytest.fixture
def extended_agent(make_agent, extended_server):
    return make_agent(extended_server)


def test_from_start_to_a_reported_job_on_a_plain_server(agent, plain_server):
    poller = agent.start()
    plain_server.wait_for(lambda: plain_server.of("poll"))
    plain_server.give(job("job_1"), job("job_2"))
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    agent.begin("job_1", "job_2")
    agent.finish("job_2")
    plain_server.wait_for(lambda: "job_2" in plain_server.results)  # while its neighbour still runs
    assert "job_1" not in plain_server.results
    agent.finish("job_1")
    plain_server.wait_for(lambda: "job_1" in plain_server.results)
    eventually(lambda: agent.states("job_1", "job_2") == {State.ACKED})
    assert agent.journal.note("registration")["agentId"] == "agt_1"
    assert agent.journal.note("poller")["state"] == "ok"
    assert poller.terminate() == 0
    assert {len(found) for found in plain_server.results.values()} == {1}


def test_with_every_extension(extended_agent, extended_server):
    agent = extended_agent
    poller = agent.start()
    extended_server.wait_for(lambda: extended_server.of("poll"))
    extended_server.give(job("job_1"), job("job_2"))
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    assert sorted(extended_server.acknowledged) == ["job_1", "job_2"]
    agent.begin("job_1", "job_2")
    agent.finish("job_1", "job_2")
    eventually(lambda: agent.states("job_1", "job_2") == {State.ACKED})
    assert extended_server.results["job_1"][0]["timings"]["acknowledgedMs"] >= 0
    assert len(extended_server.of("poll")) >= 2  # one of 25 s is under way
    began = time.monotonic()
    assert poller.terminate() == 0
    assert time.monotonic() - began < 15, "not at the end of the poll's 25 s"


def test_parameters_are_nowhere_in_clear(agent, plain_server):
    poller = agent.start()
    plain_server.give(job("job_1", params={"password": "c4nary-c4nary"}))
    eventually(lambda: agent.in_redis() == {"job_1"})
    with agent.home.redis.client() as client:
        values = b"".join(value for key in client.keys("rq:job:*") for value in client.hgetall(key).values())
    files = b"".join(path.read_bytes() for path in agent.home.folder.rglob("*") if path.is_file())
    assert b"c4nary" not in values + files + poller.log.encode()
    assert poller.terminate() == 0


def test_the_process_tells_no_log_reader_its_key(agent, plain_server):
    plain_server.fail("register", Status(503))
    poller = agent.start()
    plain_server.wait_for(lambda: plain_server.of("poll"))
    assert poller.terminate() == 0
    assert plain_server.api_key not in poller.log
    assert "jobs?" not in poller.log


# ---- stopping -------------------------------------------------------------------------------------------------------


def test_at_sigterm_nothing_is_taken_and_running_jobs_are_reported(agent, plain_server):
    plain_server.give(job("job_1"), job("job_2"))
    poller = agent.start()
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    agent.begin("job_1")
    os.kill(poller.pid, signal.SIGTERM)
    eventually(lambda: "no new jobs are taken" in poller.log)
    plain_server.give(job("job_3"))
    time.sleep(0.3)
    assert poller.running
    agent.finish("job_1")
    assert poller.wait(20) == 0
    assert "job_1" in plain_server.results
    assert agent.state("job_2") is State.QUEUED  # waits for the next start
    assert agent.state("job_3") is None


def test_it_does_not_wait_longer_than_the_grace(make_agent, plain_server):
    agent = make_agent(plain_server, shutdown_grace_seconds=0)
    plain_server.give(job("job_1"))
    poller = agent.start()
    eventually(lambda: agent.in_redis() == {"job_1"})
    agent.begin("job_1")
    assert poller.terminate(8) == 0
    assert agent.state("job_1") is State.STARTED


def test_it_ends_while_the_control_plane_does_not_answer_at_all(agent, plain_server):
    plain_server.always("register", Slow(30))
    poller = agent.start()
    plain_server.wait_for(lambda: plain_server.of("register"))
    assert poller.terminate(3) == 0


# ---- dying ----------------------------------------------------------------------------------------------------------


def test_killed_while_it_runs_nothing_is_lost_and_nothing_doubled(agent, plain_server):
    """kill -9 again and again while 60 jobs come in, run and are reported."""
    names = [f"job_{number}" for number in range(60)]
    waiting = list(names)
    poller = agent.start()
    for turn in range(6):
        plain_server.give(*[job(waiting.pop()) for _ in range(10)])
        eventually(lambda wanted=10 * (turn + 1): len(agent.journal.latest(100)) == wanted, within=20)
        poller.kill()
        # what had been queued when it died is run and reported after the restart
        ready = [row.key for row in agent.journal.queued()]
        agent.begin(*ready)
        agent.finish(*ready)
        poller = agent.start()
    eventually(lambda: agent.states(*names) == {State.ACKED}, within=30)
    assert poller.terminate() == 0
    assert set(plain_server.results) == set(names)
    assert all(found == [result(name)] for name, found in plain_server.results.items())


def test_killed_between_journal_and_permit(extended_agent, extended_server):
    agent = extended_agent
    extended_server.always("ack", Slow(30))
    extended_server.give(job("job_1"), job("job_2"))
    poller = agent.start()
    eventually(lambda: agent.states("job_1", "job_2") == {State.TAKEN})
    poller.kill()
    assert agent.in_redis() == set()
    extended_server.well("ack")
    extended_server.refusals = {"job_2": "reassigned"}
    agent.start()
    eventually(lambda: agent.in_redis() == {"job_1"})
    assert agent.state("job_2") is None


def test_killed_between_permit_and_queue(agent, plain_server):
    agent.journal.take([new_job("job_1"), new_job("job_2")])  # what such a poller leaves behind
    agent.start()
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})


@pytest.mark.parametrize("taken", [False, True], ids=["before the server took it", "after"])
def test_killed_between_post_and_answer(agent, plain_server, taken):
    plain_server.give(job("job_1"))
    poller = agent.start()
    eventually(lambda: agent.in_redis() == {"job_1"})
    agent.begin("job_1")
    if taken:
        plain_server.fail("results", Cut("before", after_work=True))
    else:
        plain_server.fail("results", Slow(30))
    agent.finish("job_1")
    plain_server.wait_for(lambda: plain_server.of("results"))
    poller.kill()
    agent.start()
    eventually(lambda: agent.state("job_1") is State.ACKED)
    assert plain_server.results["job_1"] == [result("job_1")] * (2 if taken else 1)


def test_redelivery_after_a_lost_answer_sends_the_same_result_again(agent, plain_server):
    plain_server.give(job("job_1"))
    agent.start()
    eventually(lambda: agent.in_redis() == {"job_1"})
    agent.begin("job_1")
    agent.finish("job_1")
    eventually(lambda: agent.state("job_1") is State.ACKED)
    plain_server.give(job("job_1"))
    plain_server.wait_for(lambda: len(plain_server.results["job_1"]) == 2)
    assert plain_server.results["job_1"] == [result("job_1")] * 2  # never an error, never run again


# ---- what fails around it -------------------------------------------------------------------------------------------


def test_redis_is_filled_again_after_a_flush_and_after_its_death(agent, plain_server):
    plain_server.give(job("job_1"), job("job_2"))
    poller = agent.start()
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    agent.home.redis.flush()
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    agent.home.redis.kill()
    eventually(lambda: "Redis" in poller.log)
    agent.home.redis.start()
    eventually(lambda: agent.in_redis() == {"job_1", "job_2"})
    assert poller.running


def test_it_starts_before_redis_and_before_the_journal_can_be_opened(make_home, plain_server):
    home = make_home(plain_server.url)
    home.settings.journal_path.mkdir()
    poller = home.start("poller")
    eventually(lambda: "journal" in poller.log)
    assert poller.running
    home.settings.journal_path.rmdir()
    plain_server.wait_for(lambda: plain_server.of("poll"))
    home.start_redis()
    plain_server.give(job("job_1"))
    with Journal(home.settings.journal_path) as journal:
        eventually(lambda: journal.get("job_1"), within=20)
    assert poller.terminate() == 0


def test_results_wait_for_a_control_plane_that_is_away(agent, plain_server):
    plain_server.always("results", Status(503))
    plain_server.give(*[job(f"job_{number}") for number in range(5)])
    agent.start()
    names = [f"job_{number}" for number in range(5)]
    eventually(lambda: agent.in_redis() == set(names))
    agent.begin(*names)
    agent.finish(*names)
    plain_server.wait_for(lambda: len(plain_server.of("results")) >= 3)
    plain_server.well("results")
    eventually(lambda: agent.states(*names) == {State.ACKED}, within=60)
    assert {len(found) for found in plain_server.results.values()} == {1}


def test_a_setting_a_person_has_to_change_is_said_in_one_sentence(make_home, plain_server):
    home = make_home(plain_server.url)
    home.values["agent_api_key"] = "schlüssel"
    poller = home.start("poller")
    assert poller.wait() == 2
    assert "AGENT_API_KEY" in poller.log
    assert "Traceback" not in poller.log


def test_a_plain_server_may_become_an_extended_one(make_home):
    """The same state directory, first without, then with extensions: features follow the registration."""
    server = ExtendedServer("receipts")
    try:
        home = make_home(server.url)
        home.start_redis()
        with home.journal() as journal:
            journal.leave_note("capabilities", [])
            poller = home.start("poller")
            eventually(lambda: (journal.note("registration") or {}).get("features") == ["receipts"])
            server.features = ("ack", "longPoll", "receipts")
            journal.leave_note("capabilities", ["http"])
            eventually(lambda: journal.note("registration")["features"] == ["ack", "longPoll", "receipts"])
            eventually(lambda: server.of("poll")[-1].query.get("wait"))
        assert poller.terminate() == 0
        assert server.violations == []
    finally:
        server.close()
