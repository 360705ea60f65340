from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from controlplane.services.tokens import Scope
from easyalert.protocol.sealed import FORMAT, STORE_CREDENTIAL, open_sealed, read_sealed
from tests.controlplane.world import EXTENSIONS, result

pytestmark = pytest.mark.system

CANARY = "c4nary-in-a-request"
PATH = "/api/v1/connections/web-db/credentials"
KEY = X25519PrivateKey.generate()
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()


@pytest.fixture
def agent(service):
    return service.agent(features=(*EXTENSIONS, "sealed"), publicKey=PUBLIC)


def test_credentials_reach_the_agent_sealed_and_are_seen_nowhere_else(service, agent, caplog):
    answer = service.operator.put(PATH, json={"agentId": agent.id, "credentials": {"password": CANARY}})
    assert answer.status_code == 202, answer.text
    data = answer.json()["data"]
    assert data["connectionId"] == "web-db"
    (told,) = data["jobs"]
    (wire,) = agent.poll()
    assert (wire["jobId"], wire["actionType"]) == (told["jobId"], STORE_CREDENTIAL)
    assert wire["params"]["connectionId"] == "web-db"
    value = read_sealed("credentials", wire["params"]["credentials"])
    assert open_sealed(KEY, value, STORE_CREDENTIAL, "web-db") == {"password": CANARY}
    agent.ack(wire)
    agent.report(result(wire))
    paths = ("/jobs", f"/jobs/{told['jobId']}", "/agents", "/audit", f"/jobs?q={CANARY}")
    seen = [answer.text, json.dumps(wire), caplog.text]
    seen += [service.operator.get(f"/api/v1{path}").text for path in paths]
    folder = service.database.file.parent
    seen += [file.read_bytes().decode("latin-1") for file in folder.iterdir() if file.is_file()]
    assert not [text[:200] for text in seen if CANARY in text]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "credentials"),
        ({"agentId": "x", "credentials": {}}, "credentials"),
        ({"agentId": "x", "credentials": CANARY}, "credentials"),
        ({"agentId": "x", "sealed": []}, "sealed"),
        ({"agentId": "x", "sealed": [CANARY]}, "sealed"),
        ({"agentId": "x", "sealed": [{FORMAT: {}}], "credentials": {"a": CANARY}}, "not both"),
        ({"agentId": "x", "credential": {"a": CANARY}}, "credential"),
        ({"credentials": {"a": CANARY}}, "agentId"),
    ],
)
def test_refusals_name_the_field_and_quote_nothing(service, agent, body, field):
    answer = service.operator.put(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert field in answer.json()["error"]
    assert CANARY not in answer.text


def test_an_impossible_connection_or_agent_and_a_viewer(service, agent):
    body = {"agentId": agent.id, "credentials": {"a": CANARY}}
    for name in ("a%20b", "a.b", "x" * 257, "web%0A"):
        assert service.operator.put(f"/api/v1/connections/{name}/credentials", json=body).status_code == 422, name
    assert service.operator.put(PATH, json={**body, "agentId": "agt_none"}).status_code == 404
    viewer = service.client(headers=service.bearer(Scope.VIEWER))
    assert viewer.put(PATH, json=body).status_code == 403
    assert agent.poll() == []


def test_a_caller_that_seals_for_an_agent_that_cannot_open_gets_a_409(service):
    plain = service.agent()
    value = {FORMAT: {"agentId": plain.id, "jobId": "job_" + "0" * 26, "keyId": "0" * 16, "expiresAt": 1_800_000_600,
                      "enc": PUBLIC, "ciphertext": PUBLIC}}  # fmt: skip
    answer = service.operator.put(PATH, json={"agentId": plain.id, "sealed": [value]})
    assert (answer.status_code, answer.json()["code"]) == (409, "sealing_not_supported")
    job = {"actionType": "script.bash", "params": value}
    answer = service.operator.post("/api/v1/jobs", json=job)
    assert (answer.status_code, answer.json()["code"]) == (409, "sealing_not_supported")
    assert plain.id in answer.json()["error"]
