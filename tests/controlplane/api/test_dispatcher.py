"""Long polls on real sockets."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from controlplane.services import claims
from easyalert.protocol import paths
from tests.controlplane.live import SLOW
from tests.controlplane.world import EXTENSIONS, result
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@pytest.fixture
def threads():
    with ThreadPoolExecutor(8) as pool:
        yield pool


def wait_for_polls(live, *agents):
    eventually(lambda: {agent.id for agent in agents} <= live.waiting, what="waiting polls")


def ids(jobs):
    return [job["jobId"] for job in jobs]


def fail_one_job(live, agent):
    """Makes it less healthy than one without jobs."""
    live.submit(agentId=agent.id)
    agent.report(result(agent.poll(wait=5)[0], "error"))


def test_a_waiting_poll_is_answered_as_soon_as_there_is_a_job(live, threads):
    agent = live.agent()
    polled = threads.submit(agent.poll, wait=25, slots=3)
    wait_for_polls(live, agent)
    begun = time.monotonic()
    job = live.submit()
    assert ids(polled.result(SLOW)) == [job]
    assert time.monotonic() - begun < 20, "not at the end of the 25 s"


def test_an_empty_poll_answers_after_its_wait(live):
    agent = live.agent()
    begun = time.monotonic()
    assert agent.poll(wait=0.2) == []
    assert 0.2 <= time.monotonic() - begun < 20
    assert agent.poll() == []
    assert agent.poll(wait="soon", slots="nan") == []


def test_jobs_that_already_wait_are_given_at_once_up_to_the_slots(live):
    agent = live.agent()
    jobs = [live.submit() for _ in range(4)]
    assert ids(agent.poll(wait=25, slots=3)) == jobs[:3]


def test_whole_life_of_a_job_with_every_extension(live, threads):
    agent = live.agent()
    job = live.submit(timeout=60)
    (wire,) = agent.poll(wait=25, slots=1)
    assert agent.ack(wire) == {"accepted": [{"jobId": job, "attempt": 1}], "refused": []}
    agent.heartbeat(runningJobs=[{"jobId": job, "attempt": 1}])
    assert live.job(job)["status"] == "running"
    seen = threads.submit(live.job, job, 30)
    receipts = agent.report(result(wire, timings={"startedMs": 1, "finishedMs": 2}))
    assert receipts == [{"jobId": job, "attempt": 1, "receipt": "accepted"}]
    assert seen.result(SLOW)["status"] == "success"
    steps = [step["step"] for step in live.job(job)["timings"]]
    assert steps == ["created", "dispatched", "acknowledged", "started", "finished", "received"]


def test_whole_life_of_a_job_by_the_base_protocol(live):
    agent = live.agent(features=())
    agent.heartbeat()
    job = live.submit()
    (wire,) = agent.poll()
    assert set(wire) == {"jobId", "actionType", "connectionId", "params"}
    begun = time.monotonic()
    assert agent.poll(wait=25, slots=5) == []
    assert time.monotonic() - begun < 10, "a base agent's poll never waits"
    agent.report(result(wire))
    assert live.job(job)["status"] == "success"


def test_the_healthiest_gets_it_while_all_wait(live, threads):
    good, bad = live.agent(), live.agent()
    fail_one_job(live, bad)
    polls = {agent.id: threads.submit(agent.poll, wait=25, slots=1) for agent in (bad, good)}
    wait_for_polls(live, good, bad)
    job = live.submit(poolId="default")
    assert ids(polls[good.id].result(SLOW)) == [job]
    assert not polls[bad.id].done()
    live.stop_waiting()


def test_a_job_for_the_healthiest_is_neither_stolen_nor_starved(live, threads):
    best, other = live.agent(), live.agent()
    fail_one_job(live, other)
    best.poll()
    polled = threads.submit(other.poll, wait=25, slots=1)
    wait_for_polls(live, other)
    begun = time.monotonic()
    job = live.submit(poolId="default")
    assert ids(polled.result(SLOW)) == [job]
    assert time.monotonic() - begun > 1.5, "the head start of the one that is not polling"
    why = live.job(job)["why"]
    assert "did not in time" in why["sentence"]
    assert {row["agentId"]: row["verdict"] for row in why["candidates"]} == {
        best.id: "healthier, but did not ask for the job in time",
        other.id: "chosen",
    }


def test_an_agent_that_returns_takes_what_waited(live, threads):
    agent = live.agent()
    agent.heartbeat("offline")
    job = live.submit()
    polled = threads.submit(agent.poll, wait=25)
    wait_for_polls(live, agent)
    agent.heartbeat()
    assert ids(polled.result(SLOW)) == [job]


def test_offline_hands_its_unacknowledged_job_to_a_waiting_other(live, threads):
    a, b = live.agent(), live.agent()
    job = live.submit(poolId="default")
    (wire,) = a.poll(wait=10)
    polled = threads.submit(b.poll, wait=25)
    wait_for_polls(live, b)
    a.heartbeat("offline")
    (other,) = polled.result(SLOW)
    assert (other["jobId"], other["attempt"]) == (job, wire["attempt"] + 1)


def test_a_torn_answer_is_offered_again_within_the_next_poll(live):
    agent = live.agent()
    job = live.submit()
    agent.poll(wait=5)
    begun = time.monotonic()
    (again,) = agent.poll(wait=25)
    assert (again["jobId"], again["attempt"]) == (job, 1)
    assert time.monotonic() - begun < 20, "not at the end of the 25 s"


def test_a_newer_poll_of_the_same_agent_ends_the_older(live, threads):
    agent = live.agent()
    older = threads.submit(agent.poll, wait=25)
    wait_for_polls(live, agent)
    newer = threads.submit(agent.poll, wait=25)
    assert older.result(SLOW) == []
    job = live.submit()
    assert ids(newer.result(SLOW)) == [job]


def test_a_client_that_hangs_up_takes_no_job_with_it(live):
    agent = live.agent()
    key = agent.client.headers[paths.API_KEY_HEADER]
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        request = f"GET {paths.JOBS}?wait=25 HTTP/1.1\r\nHost: x\r\n{paths.API_KEY_HEADER}: {key}\r\n\r\n"
        raw.sendall(request.encode())
        wait_for_polls(live, agent)
    eventually(lambda: agent.id not in live.waiting, what="the poll's end")
    job = live.submit()
    assert live.job(job)["status"] == "pending"
    assert ids(agent.poll(wait=5)) == [job]


def test_a_failing_database_fails_the_poll_and_not_the_server(live, threads, monkeypatch):
    agent = live.agent()
    live.submit()
    with monkeypatch.context() as broken:
        broken.setattr(claims, "hand_out", lambda *_: 1 / 0)
        assert agent.client.get(paths.JOBS).json()["code"] == "internal_error"
    assert len(agent.poll(wait=5)) == 1


def test_stopping_lets_every_poll_and_every_waiting_reader_go(live, threads):
    agents = [live.agent() for _ in range(3)]
    live.submit(agentId=agents[0].id)
    (taken,) = agents[0].poll(wait=5)
    polls = [threads.submit(agent.poll, wait=25) for agent in agents[1:]]
    reader = threads.submit(live.job, taken["jobId"], 60)
    wait_for_polls(live, *agents[1:])
    eventually(lambda: live.runtime.watch._events, what="the waiting reader")
    begun = time.monotonic()
    live.stop_waiting()
    assert [p.result(SLOW) for p in polls] == [[], []]
    assert reader.result(SLOW)["status"] == "dispatched"
    assert time.monotonic() - begun < 20


def test_many_agents_many_jobs_each_exactly_once(live, threads):
    agents = [live.agent() for _ in range(6)]
    total, claimed, lock, done = 60, [], threading.Lock(), threading.Event()

    def work(agent):
        while not done.is_set():
            jobs = agent.poll(wait=0.5, slots=2)
            if not jobs:
                continue
            assert agent.ack(*jobs)["refused"] == []
            assert {r["receipt"] for r in agent.report(*map(result, jobs))} == {"accepted"}
            with lock:
                claimed.extend(ids(jobs))
                if len(claimed) >= total:
                    done.set()

    workers = [threads.submit(work, agent) for agent in agents]
    submitted = [live.submit(poolId="default") for _ in range(total)]
    assert done.wait(60)
    for worker in workers:
        worker.result(SLOW)
    assert sorted(claimed) == sorted(submitted)
    rows = live.operator.get("/api/v1/jobs", params={"limit": 500}).json()["data"]
    assert {(row["status"], row["attempt"]) for row in rows} == {("success", 1)}


def test_a_poll_that_was_there_before_the_end_of_a_pause_gets_jobs_at_once(live, threads):
    """Whether the agent's poll or its word that it is paused no more comes first is chance."""
    agent = live.agent(features=(*EXTENSIONS, "control"))
    agent.heartbeat(paused={"reason": None})
    job = live.submit(poolId="default")
    polled = threads.submit(agent.poll, wait=25, slots=1)
    wait_for_polls(live, agent)
    begun = time.monotonic()
    agent.heartbeat()
    assert ids(polled.result(SLOW)) == [job]
    assert time.monotonic() - begun < 20, "not at the end of the 25 s"
