"""The control plane hands signatures on. It checks what would otherwise fail on the agent only, and never the value."""

import pytest

from controlplane.services.errors import ConflictError, InvalidError
from easyalert.protocol.ids import new_id
from tests.controlplane.world import EXTENSIONS, START

SIGNING = (*EXTENSIONS, "signed")


def signature(audience="pool:default", **changes):
    made = {"jobId": new_id("job", START), "audience": audience, "expiresAt": int(START) + 600}
    return {**made, "keyId": "56475aa75463474c", "value": "c2lnbmF0dXJl", **changes}


def submit(world, given, **asked):
    return world.submit(**{"signature": given, "pool_id": "default", **asked})


def test_a_signature_is_handed_on_untouched_and_the_job_has_its_id(world):
    agent = world.agent(features=SIGNING)
    given = signature()
    job = submit(world, given)
    assert job == given["jobId"]
    (wire,) = world.poll(agent)
    assert (wire["jobId"], wire["signature"]) == (job, given)
    world.clock.sleep(1.5)
    (again,) = world.poll(agent)
    assert again["signature"] == given, "the same offer again"
    assert world.job(job)["signature"] == given


def test_agents_that_did_not_ask_for_signatures_get_none(world):
    agent = world.agent()
    submit(world, signature())
    (wire,) = world.poll(agent)
    assert "signature" not in wire
    base = world.base_agent()
    submit(world, signature())
    (wire,) = world.poll(base)
    assert wire.keys() == {"jobId", "actionType", "connectionId", "params"}


def test_a_job_without_signature_has_none(world):
    agent = world.agent(features=SIGNING)
    job = world.submit()
    assert world.job(job)["signature"] is None
    assert "signature" not in world.poll(agent)[0]


def test_where_it_was_signed_for(world):
    agent = world.agent()
    assert submit(world, signature(agent), pool_id=None, agent_id=agent)
    for audience, more in (
        (agent, {}),
        ("pool:other", {}),
        ("default", {}),
        ("pool:default", {"pool_id": None}),
        ("pool:default", {"pool_id": None, "agent_id": agent}),
        ("agt_other", {"pool_id": None, "agent_id": agent}),
    ):
        with pytest.raises(InvalidError, match="the signature is for"):
            submit(world, signature(audience), **more)


@pytest.mark.parametrize("job_id", ["", "job_1", "agt_" + "0" * 26, "job_" + "i" * 26])
def test_ids_that_are_none(world, job_id):
    world.agent()
    with pytest.raises(InvalidError, match=r"signature\.jobId"):
        submit(world, signature(jobId=job_id))


def test_a_signature_is_good_for_one_job(world):
    world.agent()
    given = signature()
    submit(world, given)
    with pytest.raises(ConflictError, match="a signature is good for one job"):
        submit(world, given)
    with pytest.raises(ConflictError):
        submit(world, given, params={"script": "false"})


def test_the_same_idempotency_key_answers_the_same_signed_job(world):
    world.agent()
    given = signature()
    job = submit(world, given, idempotency_key="k")
    assert submit(world, given, idempotency_key="k") == job


def test_what_has_expired_is_not_taken_and_what_expires_in_the_queue_ends(world):
    world.agent()
    with pytest.raises(InvalidError, match="sign the job anew"):
        submit(world, signature(expiresAt=int(START)))
    job = submit(world, signature())
    world.clock.sleep(601)
    world.sweep()
    assert world.state(job) == "expired"


@pytest.mark.parametrize(
    ("asked", "fine"),
    [
        ({"params": {"script": "true", "timeout": 60}}, True),
        ({"params": {"script": "true", "timeout": 60.0}}, True),
        ({"params": {"script": "ü\U0001f600", "x": [1e21, 0.1]}}, True),
        ({"params": {"script": "true"}, "timeout": 60}, False),
        ({"params": {"script": "true", "timeout": "60"}}, False),
        ({"params": {"headers": None}}, False),
        ({"params": {"n": 2**60}}, False),
    ],
)
def test_parameters_that_would_have_to_be_changed_are_not_taken(world, asked, fine):
    agent = world.agent(features=SIGNING)
    if fine:
        submit(world, signature(), **asked)
        assert world.poll(agent)[0]["params"] == asked["params"]
    else:
        with pytest.raises(InvalidError, match=r"as it was signed|cannot have been signed"):
            submit(world, signature(), **asked)


def test_signed_credentials_arrive_as_they_were_signed(world):
    agent = world.agent(features=SIGNING)
    params = {"connectionId": "web", "credentials": {"password": "pä55", "n": 1.5}}
    job = submit(world, signature(), action="system.storeCredential", params=params)
    (wire,) = world.poll(agent)
    assert wire["params"] == params
    assert world.job(job)["params"]["credentials"] == "[redacted]"
