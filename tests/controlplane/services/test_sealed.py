"""The control plane hands on what is sealed. It checks what would otherwise fail on the agent only, and opens nothing."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from controlplane.services import agents, fleet, jobs
from controlplane.services.errors import ConflictError, InvalidError
from easyalert.protocol.ids import new_id
from easyalert.protocol.sealed import FORMAT, STORE_CREDENTIAL, Addressed, fingerprint, open_sealed, read_sealed, seal
from tests.controlplane.world import EXTENSIONS, START, result

SEALING = (*EXTENSIONS, "sealed")
KEY = X25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw()
TEXT = base64.b64encode(PUBLIC).decode()
CANARY = "c4nary-on-the-control-plane"


@pytest.fixture
def agent(world):
    return world.agent(features=SEALING, public_key=TEXT)


def value(agent, purpose="params", action="script.bash", connection=None, *, key=PUBLIC, **changes):
    to = {"agent_id": agent, "job_id": new_id("job", START), "expires_at": int(START) + 600, **changes}
    return seal(key, Addressed(purpose, action_type=action, connection_id=connection, **to), {"x": CANARY}).wire()


def delivery(agent, **changes):
    return {"connectionId": "web", "credentials": value(agent, "credentials", STORE_CREDENTIAL, "web", **changes)}


def test_the_key_and_its_fingerprint_are_shown(world, agent):
    def view(agent_id):
        row = world.read(lambda s, _now: agents.get(s, agent_id))
        return world.read(lambda s, now: agents.view(row, fleet.figures(s, [agent_id], now)[agent_id], now))

    assert (view(agent)["publicKey"], view(agent)["publicKeyFingerprint"]) == (TEXT, fingerprint(PUBLIC))
    assert "sealed" in view(agent)["features"]
    base = world.base_agent()
    assert (view(base)["publicKey"], view(base)["publicKeyFingerprint"]) == (None, None)


@pytest.mark.parametrize(
    "text", [None, "", "pk", TEXT.rstrip("="), "é"], ids=["none", "empty", "word", "unpadded", "accent"]
)
def test_the_feature_needs_a_key(world, text):
    agent = world.agent(features=SEALING, public_key=text)
    with pytest.raises(ConflictError, match="takes nothing sealed") as raised:
        world.submit(params=value(agent))
    assert raised.value.token == "sealing_not_supported"


def test_sealed_parameters_are_handed_on_as_they_came_to_their_agent_alone(world, agent):
    other = world.agent(features=SEALING, public_key=TEXT)
    params = value(agent)
    job = world.submit(params=params, timeout=60)
    assert job == params[FORMAT]["jobId"]
    assert world.poll(other) == []
    (wire,) = world.poll(agent)
    assert (wire["jobId"], wire["params"]) == (job, {**params, "timeout": 60})
    sealed = read_sealed("params", params)
    assert open_sealed(KEY, sealed, "script.bash", None) == {"x": CANARY}
    assert world.job(job)["targetAgentId"] == agent
    assert world.job(job)["poolId"] is None


def test_sealed_credentials_are_handed_on_and_forgotten_once_delivered(world, agent):
    params = delivery(agent)
    job = world.submit(STORE_CREDENTIAL, params=params, agent_id=agent)
    assert world.job(job)["params"]["credentials"] == "[redacted]"
    wire = world.take(agent)
    assert wire["params"] == params
    world.report(agent, result(wire, "error"))
    assert world.job(job)["status"] == "error"
    with pytest.raises(ConflictError, match="no longer held here"):
        world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    world.database.scrub()
    assert params["credentials"][FORMAT]["ciphertext"].encode() not in world.database.file.read_bytes()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"pool_id": "default"}, "poolId: what is sealed opens on one agent only"),
        ({"agent_id": "agt_other"}, "agentId: the params are sealed for agent"),
        ({"signature": {"jobId": "job_" + "0" * 26, "audience": "x", "expiresAt": 1}}, "seal first, then sign"),
        ({"action": STORE_CREDENTIAL}, "takes its credentials sealed, not all of its params"),
    ],
)
def test_where_it_is_not_sent(world, agent, asked, sentence):
    with pytest.raises(InvalidError, match=sentence):
        world.submit(**{"params": value(agent), **asked})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"job_id": "job_1"}, "'job_' and 26 characters"),
        ({"expires_at": int(START) - 1}, "expiresAt is over"),
        ({"expires_at": int(START) + 32 * 86_400}, "more than 31 days ahead"),
        ({"agent_id": "agt_nobody"}, "which does not exist"),
    ],
)
def test_what_no_agent_would_open_is_refused_at_once(world, agent, changes, sentence):
    with pytest.raises(InvalidError, match=sentence):
        world.submit(params=value(agent, **changes))


@pytest.mark.parametrize(
    "params",
    [
        {FORMAT: None},
        {FORMAT: {}},
        {FORMAT: {"agentId": "x"}},
        {FORMAT: [], "timeout": 5},
    ],
)
def test_malformed_values_are_named_and_not_kept(world, agent, params):
    with pytest.raises(InvalidError, match="the sealed params are malformed"):
        world.submit(params=params)
    with pytest.raises(InvalidError, match="nothing may stand beside"):
        world.submit(params=value(agent) | {"script": CANARY})
    both = delivery(agent)
    both["credentials"]["password"] = CANARY
    with pytest.raises(InvalidError, match="the sealed credentials are malformed: nothing may stand beside"):
        world.submit(STORE_CREDENTIAL, params=both)
    assert CANARY.encode() not in everything(world)


def everything(world):
    folder = world.database.file.parent
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name.startswith(world.database.file.name))


def test_an_agent_without_the_feature_gets_nothing_sealed(world):
    for agent in (world.agent(public_key=TEXT), world.base_agent()):
        with pytest.raises(ConflictError, match="Update and start it, or send in clear") as raised:
            world.submit(params=value(agent))
        assert raised.value.token == "sealing_not_supported"


def test_an_agent_that_was_downgraded_meanwhile_gets_nothing_sealed(world, agent):
    ids = [world.submit(params=value(agent)) for _ in range(2)]
    (offered,) = world.poll(agent)
    world.register(agent, features=list(EXTENSIONS))
    world.clock.sleep(2)
    assert world.poll(agent, slots=5) == [], f"neither {offered['jobId']} again nor the next"
    for job_id in ids:
        job = world.job(job_id)
        assert job["status"] == "error"
        assert "takes nothing sealed" in job["statusReason"]


def test_a_key_that_has_changed_is_said_at_once(world, agent):
    former = value(agent)
    world.register(agent, features=list(SEALING), public_key=base64.b64encode(bytes([9]) + bytes(31)).decode())
    with pytest.raises(ConflictError, match="seal them anew") as raised:
        world.submit(params=former)
    assert raised.value.token == "sealed_to_another_key"


def test_one_value_is_one_job(world, agent):
    params = value(agent)
    job = world.submit(params=params, idempotency_key="deploy-1")
    assert world.submit(params=params, idempotency_key="deploy-1") == job
    with pytest.raises(ConflictError, match="exists already") as raised:
        world.submit(params=params)
    assert raised.value.token == "job_id_used"


def test_it_is_not_retried_under_an_id_it_was_used_for(world, agent):
    job = world.submit(params=value(agent))
    world.report(agent, result(world.take(agent), "error"))
    assert world.job(job)["status"] == "error"
    with pytest.raises(ConflictError, match="seal it anew and submit a new job") as raised:
        world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    assert raised.value.token == "sealed_once"


def test_it_waits_no_longer_than_it_is_valid(world, agent):
    job = world.submit(params=value(agent))
    world.clock.sleep(601)
    world.sweep()
    assert world.state(job) == "expired"


def test_when_its_agent_is_deleted_no_other_gets_it(world, agent):
    other = world.agent(features=SEALING, public_key=TEXT)
    sealed, plain = world.submit(params=value(agent)), world.submit(agent_id=agent)
    offered = world.submit(params=value(agent))
    counts = world.write(lambda s, now: agents.remove(s, now, agent))
    assert counts == {"reassigned": 1, "failed": 2, "inDoubt": 0}
    assert [job["jobId"] for job in world.poll(other, slots=5)] == [plain]
    for job in (sealed, offered):
        assert world.state(job) == "error"
        assert "opens nowhere else: seal it anew" in world.job(job)["statusReason"]
