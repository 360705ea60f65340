import pytest

from tests.controlplane.world import result

pytestmark = pytest.mark.system

SIGNATURE = {
    "jobId": "job_" + "0" * 26,
    "audience": "pool:default",
    "expiresAt": 4_000_000_000,
    "keyId": "k",
    "value": "v",
}


@pytest.fixture
def op(service):
    return service.operator


@pytest.fixture
def agent(service):
    return service.agent()


def post(op, path, body=None):
    answer = op.post(f"/api/v1{path}", json={} if body is None else body)
    return answer.status_code, answer.json()


def test_submit_answers_201_then_200_for_the_same_key(op, agent):
    body = {"actionType": "script.bash", "params": {"script": "true"}, "idempotencyKey": "deploy-7", "priority": 5}
    status, first = post(op, "/jobs", body)
    assert (status, first["success"], first["data"]["status"], first["data"]["priority"]) == (201, True, "pending", 5)
    assert first["data"]["timings"] == [{"step": "created", "at": first["data"]["createdAt"], "ms": 0.0}]
    status, again = post(op, "/jobs", body)
    assert (status, again["data"]["id"]) == (200, first["data"]["id"])
    status, other = post(op, "/jobs", {**body, "actionType": "script.python"})
    assert (status, other["code"]) == (409, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "actionType"),
        ({"actionType": "nodot"}, "actionType"),
        ({"actionType": "a.b", "params": None}, "params"),
        ({"actionType": "a.b", "params": []}, "params"),
        ({"actionType": "a.b", "timeout": "soon"}, "timeout"),
        ({"actionType": "a.b", "timeout": -1}, "timeout"),
        ({"actionType": "a.b", "priority": 1000}, "priority"),
        ({"actionType": "a.b", "connectionId": "a b"}, "connectionId"),
        ({"actionType": "a.b", "poolId": "none-such"}, "poolId"),
        ({"actionType": "a.b", "agentId": "none-such"}, "agentId"),
        ({"actionType": "a.b", "idempotencyKey": ""}, "idempotencyKey"),
        ({"actionType": "a.b", "parms": {}}, "parms"),
        ({"actionType": "a.b", "signature": "x"}, "signature"),
        ({"actionType": "a.b", "signature": {**SIGNATURE, "value": None}}, "signature"),
        ({"actionType": "a.b", "signature": {**SIGNATURE, "expiresAt": "soon"}}, "expiresAt"),
        ({"actionType": "a.b", "signature": {**SIGNATURE, "keyid": "x"}}, "keyid"),
        ({"actionType": "a.b", "signature": {**SIGNATURE, "value": "x" * 200}}, "signature"),
        ({"actionType": "a.b", "poolId": "default", "signature": {**SIGNATURE, "jobId": "job_1"}}, "signature.jobId"),
    ],
)
def test_refusals_name_the_field(op, agent, body, field):
    status, answer = post(op, "/jobs", body)
    assert (status, answer["success"], answer["code"]) == (422, False, "invalid_request")
    assert field in answer["error"]


def test_refusals_do_not_echo_what_may_be_secret(op, agent):
    status, answer = post(op, "/jobs", {"actionType": "a.b", "params": "s3cret-canary", "timeout": "s3cret-canary"})
    assert status == 422
    assert "s3cret-canary" not in str(answer)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"actionType": "a.b", "params": {"x": "\\ud800"}}']
)
def test_broken_bodies(op, agent, raw):
    answer = op.post("/api/v1/jobs", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert answer.json()["code"] in {"bad_request", "invalid_request"}


def test_list_pages_and_filters(service, op, agent):
    ids = []
    for _ in range(5):
        service.clock.sleep(0.01)
        ids.append(service.submit())
    first = op.get("/api/v1/jobs", params={"limit": 2}).json()
    second = op.get("/api/v1/jobs", params={"limit": 2, "cursor": first["nextCursor"]}).json()
    third = op.get("/api/v1/jobs", params={"limit": 2, "cursor": second["nextCursor"]}).json()
    assert [j["id"] for page in (first, second, third) for j in page["data"]] == ids[::-1]
    assert "nextCursor" not in third
    agent.poll()
    found = op.get("/api/v1/jobs", params={"status": "dispatched,accepted", "agentId": agent.id}).json()["data"]
    assert [j["id"] for j in found] == [ids[0]]
    assert op.get("/api/v1/jobs", params={"status": "late"}).status_code == 422
    assert op.get("/api/v1/jobs", params={"limit": 0}).json()["error"].startswith("limit")


def test_cancel_retry_settle(service, op, agent):
    job = service.submit()
    assert post(op, f"/jobs/{job}/cancel")[1]["data"]["status"] == "cancelled"
    assert post(op, f"/jobs/{job}/retry")[1]["data"]["status"] == "pending"
    (wire,) = agent.poll()
    agent.ack(wire)
    status, answer = post(op, f"/jobs/{job}/cancel")
    assert (status, answer["code"]) == (409, "cancel_not_supported")
    agent.report(result(wire, "error", outcome="in_doubt"))
    status, answer = post(op, f"/jobs/{job}/settle", {"status": "success", "note": "the service is up"})
    assert (status, answer["data"]["status"]) == (200, "success")
    assert post(op, f"/jobs/{job}/settle", {"status": "success", "note": "again"})[0] == 409
    assert post(op, f"/jobs/{job}/settle", {"status": "success"})[0] == 422
    assert post(op, "/jobs/job_x/cancel")[0] == 404


def test_waiting_for_a_final_job_answers_at_once_and_for_another_at_the_end_of_the_wait(service, op, agent):
    job = service.submit()
    assert service.job(job, wait=0.05)["status"] == "pending"
    (wire,) = agent.poll()
    agent.report(result(wire))
    assert service.job(job, wait=30)["status"] == "success"
    assert op.get("/api/v1/jobs/job_x", params={"wait": 5}).status_code == 404


def test_credentials_are_never_shown(service, op, agent):
    params = {"connectionId": "c", "credentials": {"password": "s3cret-canary"}}
    _, answer = post(op, "/jobs", {"actionType": "system.storeCredential", "params": params})
    assert answer["data"]["params"]["credentials"] == "[redacted]"
    job = answer["data"]["id"]
    (wire,) = agent.poll()
    assert wire["params"] == params
    agent.report(result(wire))
    assert "s3cret-canary" not in op.get(f"/api/v1/jobs/{job}").text + op.get("/api/v1/jobs").text
