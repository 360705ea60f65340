"""Two running agents on one key, over HTTP: the second gets neither jobs nor permits, and nothing is lost."""

import logging

import httpx
import pytest

from controlplane.models.tables import Agent
from easyalert.protocol import paths
from tests.controlplane.live import LiveAgent
from tests.controlplane.world import EXTENSIONS, result

SPOKEN = (*EXTENSIONS, "cancel", "control", "output", "instance")


class Pair:
    """Two clients with one key; each names itself in every request."""

    def __init__(self, service) -> None:
        self.service = service
        self.id, key = service.agent_key()
        self.first, self.second = (
            LiveAgent(
                service.client(headers={paths.API_KEY_HEADER: key, paths.INSTANCE_HEADER: self.name(number)}), self.id
            )
            for number in (1, 2)
        )
        self.nameless = LiveAgent(service.client(headers={paths.API_KEY_HEADER: key}), self.id)

    @staticmethod
    def name(number: int) -> str:
        return f"{number:016d}.{number:04d}"

    def register(self, number: int) -> httpx.Response:
        agent = (self.first, self.second)[number - 1]
        body = {"hostname": f"edge-{number}", "agentName": "n", "version": "1", "platform": "L", "architecture": "x"}
        return agent.client.post(paths.REGISTER, json={**body, "features": list(SPOKEN), "instance": self.name(number)})

    def supersede(self) -> None:
        """The first is not heard of, the second comes."""
        self.service.clock.sleep(95)
        assert self.register(2).status_code == 200

    def audited(self) -> list[dict]:
        rows = self.service.operator.get("/api/v1/audit", params={"target": self.id}).json()["data"]
        return [row for row in rows if row["action"] == "agent.key_refused"]


@pytest.fixture
def pair(service):
    found = Pair(service)
    assert "instance" in found.register(1).json()["data"]["features"]
    return found


def in_use(answer: httpx.Response) -> dict:
    assert answer.status_code == 409, answer.text
    body = answer.json()
    assert (body["success"], body["code"]) == (False, "key_in_use")
    return body


def test_the_second_is_refused_at_registration_and_told_when_to_come_again(pair):
    answer = pair.register(2)
    assert "host 'edge-1'" in in_use(answer)["error"]
    assert answer.headers["Retry-After"] == "90"
    assert pair.register(1).status_code == 200, "a restart of the first"


def test_it_is_audited_and_logged_once_not_at_every_retry(pair, caplog):
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            in_use(pair.register(2))
    assert len([record for record in caplog.records if "a second one" in record.getMessage()]) == 1
    (row,) = pair.audited()
    assert row["detail"]["host"] == "edge-2"
    shown = pair.service.operator.get(f"/api/v1/agents/{pair.id}").json()["data"]["keyHolder"]
    assert (shown["host"], [other["host"] for other in shown["refusedOthers"]]) == ("edge-1", ["edge-2"])


def test_one_that_was_superseded_is_found_out_by_every_request_that_matters(pair):
    job_id = pair.service.submit(agentId=pair.id)
    pair.service.clock.sleep(88)
    (wire,) = pair.first.poll(slots=1)
    pair.service.clock.sleep(2)
    assert pair.register(2).status_code == 200
    query = {"agentId": pair.id}
    beat = {"agentId": pair.id, "status": "offline", "jobsExecuted": 9, "version": "1"}
    ack = {"agentId": pair.id, "jobs": [{"jobId": job_id, "attempt": 1}]}
    for agent in (pair.first, pair.nameless):
        in_use(agent.client.get(paths.JOBS, params=query))
        in_use(agent.client.get(paths.JOBS, params={**query, "slots": 0, "wait": 5}))
        in_use(agent.client.post(paths.JOBS_ACK, json=ack))
        in_use(agent.client.post(paths.HEARTBEAT, json=beat))
    seen = pair.service.operator.get(f"/api/v1/agents/{pair.id}").json()["data"]
    assert seen["status"] == "online", "the goodbye of one is not that of the other"
    assert len(pair.audited()) == 2
    pair.service.clock.sleep(2)
    (again,) = pair.second.poll(slots=1)
    assert again == {**wire, "leaseSeconds": again["leaseSeconds"]}
    assert pair.second.ack(again)["refused"] == []


def test_what_it_runs_is_kept_alive_and_its_result_is_taken(pair):
    clock = pair.service.clock
    job_id = pair.service.submit(agentId=pair.id)
    (wire,) = pair.first.poll(slots=1)
    pair.first.ack(wire)
    pair.supersede()
    running = [{"jobId": job_id, "attempt": 1}]
    beat = {"agentId": pair.id, "status": "online", "jobsExecuted": 1, "version": "1", "runningJobs": running}
    before = pair.service.job(job_id)
    assert before["status"] == "accepted"
    clock.sleep(10)
    in_use(pair.first.client.post(paths.HEARTBEAT, json=beat))
    assert pair.service.job(job_id)["status"] == "running"
    assert pair.first.report(result(wire))[0]["receipt"] == "accepted"
    assert pair.service.job(job_id)["status"] == "success"


def test_after_the_goodbye_of_the_first_the_second_is_let_in_at_once(pair):
    in_use(pair.register(2))
    pair.first.heartbeat("offline")
    assert pair.register(2).status_code == 200
    with pair.service.database.read() as session:
        assert session.get(Agent, pair.id).refused is None


def test_agents_of_the_base_protocol_are_served_as_ever(service):
    agent = service.agent(features=())
    job_id = service.submit(agentId=agent.id)
    (wire,) = agent.poll()
    agent.report(result(wire))
    assert service.job(job_id)["status"] == "success"
