"""Agents that wait to be told, on a real socket with the real clock."""

import threading
import time

import pytest

from easyalert.protocol import paths
from tests.controlplane.live import LiveService
from tests.controlplane.world import EXTENSIONS, result
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

ALL = (*EXTENSIONS, "cancel", "control")


@pytest.fixture
def agent(live):
    return live.agent(features=ALL)


class Listening(threading.Thread):
    """A poll with `slots=0`, beside the agent's other requests."""

    def __init__(self, service: LiveService, agent) -> None:
        super().__init__(daemon=True)
        self.client = service.client(headers=dict(agent.client.headers))
        self.query = {"agentId": agent.id, "slots": 0, "wait": 20}
        self.answer = None
        self.at = 0.0
        self.start()
        eventually(lambda: agent.id in service.app.state.orders.waiting, what="the agent waits")

    def run(self) -> None:
        self.answer = self.client.get(paths.JOBS, params=self.query).json()
        self.at = time.monotonic()

    def told(self) -> list[dict]:
        self.join(25)
        return self.answer["data"]["cancelJobs"]


def cancel(service, job):
    return service.operator.post(f"/api/v1/jobs/{job}/cancel")


def test_a_waiting_agent_is_told_at_once_and_again_until_the_result(live, agent):
    job = live.submit()
    (wire,) = agent.poll(wait=1, slots=1)
    agent.ack(wire)
    listening = Listening(live, agent)
    began = time.monotonic()
    answer = cancel(live, job)
    assert answer.status_code == 202
    assert answer.json()["data"]["cancelRequested"]["by"].startswith("ADMIN (tok_")
    assert listening.told() == [{"jobId": job, "attempt": 1}]
    assert listening.at - began < 10, "not at the end of the question's 25 s"
    assert agent.poll(slots=0, wait=20) == {"cancelJobs": [{"jobId": job, "attempt": 1}]}
    assert cancel(live, job).status_code == 202
    agent.report(result(wire, "error", outcome="cancelled"))
    assert live.job(job)["status"] == "cancelled"
    assert agent.poll(slots=0) == {"cancelJobs": []}
    assert cancel(live, job).status_code == 200


def test_waiting_for_orders_and_for_jobs_do_not_end_one_another(live, agent):
    listening = Listening(live, agent)
    job = live.submit()
    assert [wire["jobId"] for wire in agent.poll(wait=5, slots=1)] == [job]
    assert listening.is_alive()
    agent.poll(slots=0, wait=0)  # another listener ends it
    assert listening.told() == []


def test_it_hands_out_nothing_and_another_listener_ends_the_first(live, agent):
    live.submit()
    first = Listening(live, agent)
    assert agent.poll(slots=0, wait=0) == {"cancelJobs": []}
    assert first.told() == []
    assert live.app.state.orders.waiting == set()


def test_a_server_that_stops_lets_them_go(live, agent):
    listening = Listening(live, agent)
    live.stop_waiting()
    assert listening.told() == []


def test_a_request_survives_the_end_of_the_server(live, agent):
    job = live.submit()
    agent.ack(*agent.poll(wait=1, slots=1))
    assert cancel(live, job).status_code == 202
    successor = LiveService(live.database, live.clock)
    try:
        client = successor.client(headers=dict(agent.client.headers))
        answer = client.get(paths.JOBS, params={"agentId": agent.id, "slots": 0, "wait": 10})
        assert answer.json()["data"] == {"cancelJobs": [{"jobId": job, "attempt": 1}]}
    finally:
        successor.close()


def test_heartbeats_are_answered_with_all_orders(live, agent):
    live.operator.post(f"/api/v1/agents/{agent.id}/drain", json={"reason": "moves"})
    body = {"agentId": agent.id, "status": "online", "jobsExecuted": 0, "jobsFailed": 0, "uptimeSeconds": 1}
    answer = agent.client.post(paths.HEARTBEAT, json={**body, "version": "1", "systemMetrics": {}})
    assert answer.json()["data"]["drain"] == {"reason": "moves", "until": None, "remainingSeconds": None}
    assert answer.json()["data"]["cancelJobs"] == []


def test_an_agent_without_the_feature_is_served_as_before(live):
    plain = live.agent()
    job = live.submit()
    assert [wire["jobId"] for wire in plain.poll(slots=0, wait=0)] == [job]
    body = {"agentId": plain.id, "status": "online", "jobsExecuted": 0, "jobsFailed": 0, "uptimeSeconds": 1}
    assert plain.client.post(paths.HEARTBEAT, json={**body, "version": "1", "systemMetrics": {}}).json()["data"] == {}
