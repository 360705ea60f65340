import pytest

from controlplane.api.bodies import MIB, lenient
from easyalert.protocol import paths
from easyalert.protocol.messages import RegisterRequest

UNKNOWN = {"hostname": "", "agentName": "", "version": "", "platform": "", "architecture": ""}


def test_lenient_keeps_what_fits():
    said = {"hostname": "h", "version": 7, "maxConcurrentJobs": "lots", "features": ["ack"], "future": {}}
    found = lenient(RegisterRequest, said, **UNKNOWN)
    assert (found.hostname, found.version, found.max_concurrent_jobs, found.features) == ("h", "", None, ["ack"])


@pytest.mark.system
def test_declared_and_real_sizes_are_limited(service, http):
    agent = service.agent()
    too_much = b"x" * (MIB + 1)
    declared = agent.client.post(paths.HEARTBEAT, content=too_much)
    streamed = agent.client.post(paths.HEARTBEAT, content=iter([too_much[: MIB // 2]] * 3))
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert answer.json()["success"] is False
        assert "1 MiB" in answer.json()["error"]
    assert agent.client.get(paths.JOBS).status_code == 200


@pytest.mark.system
def test_jobs_may_be_as_large_as_their_parameters_may(service):
    service.agent()
    body = {"actionType": "script.bash", "params": {"script": "é" * 5_000_000}}
    assert service.operator.post("/api/v1/jobs", json=body).status_code == 201


@pytest.mark.system
def test_deeply_nested_json_is_no_crash(service):
    agent = service.agent()
    assert agent.client.post(paths.RESULTS, content=b"[" * 100_000).status_code == 400
