"""The fake server is a measuring instrument: it must notice what it claims to notice."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests
from tests.support.plain_server import PlainServer

RESULT = {"jobId": "job_1", "status": "success", "output": None, "error": None, "exitCode": 0, "durationMs": 3}


@pytest.fixture
def server():
    server = PlainServer(prefix="/base")
    yield server
    server.close()


@pytest.fixture
def client(server):
    headers = {"X-Agent-Api-Key": server.api_key, "Content-Type": "application/json"}
    with httpx.Client(base_url=f"{server.url}/api/v1/internal/agents", headers=headers, timeout=5) as client:
        yield client


def compact(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_job_goes_out_once_and_its_result_is_kept(server, client):
    server.give({"jobId": "job_1"}, None)
    assert client.get("/jobs?agentId=agt_1").json()["data"] == [{"jobId": "job_1"}, None]
    assert client.get("/jobs?agentId=agt_1").json()["data"] == []
    assert client.post("/results", content=compact([RESULT])).status_code == 200
    assert server.results == {"job_1": [RESULT]}
    assert server.violations == []
    assert [request.endpoint for request in server.seen] == ["poll", "poll", "results"]


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "array"),
        ([{**RESULT, "attempt": 1}], "attempt"),
        ([{**RESULT, "status": "done"}], "status"),
        ([{**RESULT, "exitCode": True}], "exitCode"),
        ([{k: v for k, v in RESULT.items() if k != "error"}], "error"),
    ],
)
def test_results_outside_the_contract_are_noticed(server, client, document, word):
    client.post("/results", content=compact(document))
    assert any(word in violation for violation in server.violations)


def test_other_breaks_are_noticed(server, client):
    client.post("/results", json=[RESULT], content=json.dumps([RESULT]).encode())
    client.get("/jobs?agentId=agt_1&slots=3")
    client.get("/jobs?agentId=other", headers={"Content-Type": "text/plain"})
    client.post("/register", content=compact({"hostname": "h"}))
    client.get("/nothing")
    text = "; ".join(server.violations)
    for word in ("compact", "slots", "agentId is 'other'", "Content-Type", "agentName", "/nothing"):
        assert word in text


def test_wrong_key(server, client):
    assert client.get("/jobs?agentId=agt_1", headers={"X-Agent-Api-Key": "no"}).status_code == 401


def test_faults_in_order_then_well(server, client):
    server.fail("poll", Status(503), too_many_requests("3600"), Answer(b"[]"), Slow(0.01))
    assert client.get("/jobs?agentId=agt_1").status_code == 503
    assert client.get("/jobs?agentId=agt_1").headers["retry-after"] == "3600"
    assert client.get("/jobs?agentId=agt_1").content == b"[]"
    assert client.get("/jobs?agentId=agt_1").json()["data"] == []
    assert client.get("/jobs?agentId=agt_1").status_code == 200


@pytest.mark.parametrize("at", ["before", "headers", "body"])
def test_cut_connections(server, client, at):
    server.fail("results", Cut(at, after_work=True))
    with pytest.raises(httpx.RemoteProtocolError):
        client.post("/results", content=compact([RESULT]))
    assert "job_1" in server.results


def test_reports_too_large_or_poisoned(server, client):
    server.max_body_bytes = 10
    assert client.post("/results", content=compact([RESULT])).status_code == 413
    server.max_body_bytes = None
    server.refuse_item = lambda item: 422 if item["jobId"] == "job_1" else None
    assert client.post("/results", content=compact([RESULT])).status_code == 422
    assert server.results == {}


def test_always_until_well(server, client):
    server.always("heartbeat", Status(500))
    assert [client.post("/heartbeat", content=b"{}").status_code for _ in range(3)] == [500] * 3
    server.well("heartbeat")
    assert client.post("/heartbeat", content=b"{}").status_code == 200


def test_waiting_ends_with_an_error(server):
    with pytest.raises(AssertionError, match="not true within"):
        server.wait_for(lambda: server.results, within=0.05)
