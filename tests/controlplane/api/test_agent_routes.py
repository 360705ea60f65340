"""The agents' endpoints as a base agent needs them (contract 1.10), and what is refused."""

import json

import httpx
import pytest

from controlplane.models.tables import Agent, Notification
from easyalert.protocol import paths
from tests.controlplane.world import REFUSAL, result

pytestmark = pytest.mark.system


@pytest.fixture
def base(service):
    return service.agent(features=())


def row(service, agent):
    with service.database.read() as session:
        return session.get(Agent, agent.id)


def test_registration_answers_the_same_id_for_the_same_key(service, base):
    assert base.register(()) == {"agentId": base.id}
    assert base.register(("longPoll", "ack", "receipts", "telepathy")) == {
        "agentId": base.id,
        "features": ["longPoll", "ack", "receipts"],
        "longPollSeconds": 25,
    }


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"hostname": 7, "maxConcurrentJobs": "many"}'])
def test_odd_registrations_are_taken(base, body):
    answer = base.client.post(paths.REGISTER, content=body)
    assert answer.json() == {"success": True, "data": {"agentId": base.id}}


def test_polls_answer_an_object_with_data(base):
    answer = base.client.get(paths.JOBS, params={"agentId": base.id})
    assert (answer.status_code, answer.json()["data"]) == (200, [])


def test_results_of_every_kind_get_a_2xx(service, base):
    job = service.submit()
    (wire,) = base.poll()
    real = {k: v for k, v in result(wire).items() if k != "attempt"}
    odd = [None, 5, {"jobId": None}, {"jobId": "unknown", **REFUSAL}, {"jobId": job, "status": "weird"}]
    for body in ([], odd, {}, None, "text", [*odd, real], [real], [{"jobId": job, **REFUSAL}]):
        assert base.client.post(paths.RESULTS, content=json.dumps(body)).status_code == 200
    assert service.job(job)["status"] == "success"


def test_results_that_are_not_json_are_not_swallowed(base):
    for body in (b"", b"[{", b"\xff\xfe"):
        assert base.client.post(paths.RESULTS, content=body).status_code == 400


def test_what_json_allows_and_storage_does_not_is_made_storable(service, base):
    service.submit()
    (wire,) = base.poll()
    output = '{"a": NaN, "b": Infinity, "c": "x\\ud800y", "d": "\\u0000", "e": "\\ud83d\\ude00"}'
    body = f'[{{"jobId": "{wire["jobId"]}", "status": "success", "output": {output}, "error": null, "exitCode": 0}}]'
    assert base.client.post(paths.RESULTS, content=body.encode()).status_code == 200
    output = service.job(wire["jobId"])["result"]["output"]
    assert output == {"a": None, "b": None, "c": "x\N{REPLACEMENT CHARACTER}y", "d": "\x00", "e": "\N{GRINNING FACE}"}


def test_many_large_results_in_one_request(service, base):
    service.submit()
    (wire,) = base.poll()
    big = {"jobId": wire["jobId"], "status": "success", "output": {"stdout": "x" * 10_000_000}, "exitCode": 0}
    assert base.client.post(paths.RESULTS, json=[{"jobId": "old", **REFUSAL}] * 499 + [big]).status_code == 200
    assert len(service.job(wire["jobId"])["result"]["output"]["stdout"]) == 10_000_000


def test_a_heartbeat_with_odd_figures_still_counts(service, base):
    service.clock.sleep(89)
    body = {"agentId": base.id, "status": "online", "jobsExecuted": "many", "systemMetrics": {"cpuPercent": "hot"}}
    assert base.client.post(paths.HEARTBEAT, json=body).status_code == 200
    assert base.client.post(paths.HEARTBEAT, json=[]).status_code == 200
    assert row(service, base).last_heartbeat_at == service.clock.now()


def test_a_base_heartbeat_is_shown_to_operators(service, base):
    metrics = {"cpuPercent": 12.5, "memoryUsedMb": 3301, "loadAverage": [0.12, 0.3, 0.28]}
    base.heartbeat(systemMetrics=metrics, jobsExecuted=42)
    seen = service.operator.get(f"/api/v1/agents/{base.id}").json()["data"]
    assert seen["systemMetrics"] == metrics
    assert seen["reported"]["jobsExecuted"] == 42
    assert seen["status"] == "online"


def test_goodbye_of_a_process_that_never_registered_changes_nothing(service, base):
    body = {"agentId": None, "status": "offline"}
    assert base.client.post(paths.HEARTBEAT, json=body).status_code == 200
    assert not row(service, base).said_offline
    assert base.client.post(paths.HEARTBEAT, json={**body, "agentId": base.id}).status_code == 200
    assert row(service, base).said_offline


def test_another_agents_id_is_a_conflict_never_an_authentication_failure(service, base):
    other = service.agent()
    requests = [
        ("GET", paths.JOBS, {"params": {"agentId": other.id}}),
        ("GET", paths.CONNECTIONS, {"params": {"agentId": other.id}}),
        ("POST", paths.HEARTBEAT, {"json": {"agentId": other.id, "status": "online"}}),
        ("POST", paths.JOBS_ACK, {"json": {"agentId": other.id, "jobs": []}}),
    ]
    for method, path, what in requests:
        answer = base.client.request(method, path, **what)
        assert (answer.status_code, answer.json()["code"]) == (409, "agent_mismatch")


def test_connections_and_notifications(service, base):
    assert base.client.get(paths.CONNECTIONS, params={"agentId": base.id}).json()["data"] == []
    body = {"type": "slack", "message": "disk 91% on db-2", "channel": "#ops"}
    assert base.client.post(paths.NOTIFY, json=body).status_code == 200
    with service.database.read() as session:
        assert [n.message for n in session.query(Notification)] == [body["message"]]


def test_an_agent_sees_its_own_jobs_only(service, base):
    other = service.agent(features=())
    job = service.submit(agentId=base.id)
    assert other.poll() == []
    (wire,) = base.poll()
    (receipt,) = other.report(result(wire))
    assert (receipt["receipt"], receipt["reason"]) == ("rejected", "not_yours")
    assert service.job(job)["status"] == "dispatched"


def test_a_deleted_or_rotated_key_is_refused_with_the_next_request(service, base):
    answer = service.operator.post(f"/api/v1/agents/{base.id}/regenerate-key", json={})
    key = answer.json()["data"]["apiKey"]
    assert base.client.get(paths.JOBS).status_code == 401
    with httpx.Client(base_url=service.url, headers={paths.API_KEY_HEADER: key}, trust_env=False) as renewed:
        assert renewed.get(paths.JOBS).status_code == 200
        assert service.operator.delete(f"/api/v1/agents/{base.id}").status_code == 200
        assert renewed.get(paths.JOBS).status_code == 401


def test_a_disabled_agent_goes_on_running_without_new_jobs(service, base):
    running = service.submit(agentId=base.id)
    (wire,) = base.poll()
    service.operator.post(f"/api/v1/agents/{base.id}/disable", json={"reason": "patch day"})
    service.submit(agentId=base.id)
    assert base.poll() == []
    base.heartbeat()
    base.report(result(wire))
    assert service.job(running)["status"] == "success"


def test_acknowledgements_need_their_fields(base):
    for body in ({}, {"agentId": base.id}, {"agentId": base.id, "jobs": [{"jobId": "x"}]}, []):
        answer = base.client.post(paths.JOBS_ACK, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_guessing_is_throttled_with_a_small_numeric_pause(service, http):
    from tests.controlplane.services.test_key_auth import wrong_secret

    _, key = service.agent_key()
    answers = [http.get(paths.JOBS, headers={paths.API_KEY_HEADER: wrong_secret(key)}) for _ in range(7)]
    assert [a.status_code for a in answers[:5]] == [401] * 5
    assert answers[-1].status_code == 429
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 5
