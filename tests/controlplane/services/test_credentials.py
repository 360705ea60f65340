from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from controlplane.services import agents, credentials
from controlplane.services.credentials import Delivery
from controlplane.services.errors import ConflictError, InvalidError, NotFoundError
from easyalert.protocol.ids import new_id
from easyalert.protocol.sealed import STORE_CREDENTIAL, Addressed, open_sealed, read_sealed, seal
from tests.controlplane.services.test_sealed import SEALING, everything
from tests.controlplane.world import START

CANARY = "c4nary-for-a-pool"
SECRET = {"password": CANARY}


class Keyed:
    """An agent with a key of its own."""

    def __init__(self, world, pool="default"):
        self.key = X25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.id = world.agent(pool, features=SEALING, public_key=base64.b64encode(self.public).decode())

    def sealed(self, connection="web", **changes):
        to = {"agent_id": self.id, "job_id": new_id("job", START), "expires_at": int(START) + 600, **changes}
        return seal(self.public, Addressed("credentials", action_type=STORE_CREDENTIAL, connection_id=connection, **to),
                    SECRET).wire()  # fmt: skip

    def opened(self, wire):
        assert wire["actionType"] == STORE_CREDENTIAL
        value = read_sealed("credentials", wire["params"]["credentials"])
        assert (value.job_id, value.agent_id) == (wire["jobId"], self.id)
        return open_sealed(self.key, value, STORE_CREDENTIAL, wire["params"]["connectionId"])


def deliver(world, **asked):
    wanted = {"connection_id": "web", "created_by": "tok_test", "agent_id": None, "pool_id": None, **asked}
    return world.write(lambda s, now: credentials.deliver(s, now, Delivery(**wanted)))


def test_what_comes_in_clear_is_sealed_to_every_agent_that_has_a_key(world):
    one, other, plain = Keyed(world), Keyed(world), world.base_agent()
    told = deliver(world, pool_id="default", credentials=SECRET)
    assert {item["agentId"]: item["sealedBy"] for item in told} == {
        one.id: "control plane",
        other.id: "control plane",
        plain: None,
    }
    assert CANARY.encode() not in everything(world)
    for agent in (one, other):
        assert agent.opened(world.take(agent.id)) == SECRET
    (wire,) = world.poll(plain)
    assert wire["params"] == {"connectionId": "web", "credentials": SECRET}
    assert CANARY.encode() not in everything(world)


def test_one_agent_or_every_agent_of_a_pool(world):
    one, other, elsewhere = Keyed(world), Keyed(world), Keyed(world, "east")
    assert [item["agentId"] for item in deliver(world, agent_id=one.id, credentials=SECRET)] == [one.id]
    told = deliver(world, pool_id="default", credentials=SECRET)
    assert {item["agentId"] for item in told} == {one.id, other.id}
    assert world.poll(elsewhere.id, pool="east") == []


def test_what_the_caller_sealed_goes_to_each_agent_as_it_came(world):
    one, other = Keyed(world), Keyed(world)
    values = {agent.id: agent.sealed() for agent in (other, one)}
    told = deliver(world, pool_id="default", sealed=list(values.values()))
    assert {(item["agentId"], item["sealedBy"], item["status"]) for item in told} == {
        (one.id, "caller", "pending"),
        (other.id, "caller", "pending"),
    }
    for agent in (one, other):
        wire = world.take(agent.id)
        assert wire["params"]["credentials"] == values[agent.id]
        assert agent.opened(wire) == SECRET
        assert {"jobId": wire["jobId"], "agentId": agent.id}.items() <= next(
            item.items() for item in told if item["agentId"] == agent.id
        )


def test_a_delivery_is_recorded_without_what_it_delivers(world):
    one = Keyed(world)
    (item,) = deliver(world, agent_id=one.id, credentials=SECRET)
    (entry,) = world.audited(item["jobId"])
    assert entry["action"] == "connection.credentials_sent"
    assert entry["detail"] == {"connectionId": "web", "agentId": one.id, "sealedBy": "control plane"}
    assert CANARY not in str(entry) + repr(Delivery("web", "t", None, None, SECRET))


def test_all_or_none(world):
    one, other = Keyed(world), Keyed(world)
    for values, sentence in {
        "missing": ([one.sealed()], "has no value for agent-2"),
        "twice": ([one.sealed(), one.sealed()], "two values for agent"),
        "foreign": ([one.sealed(), other.sealed(), other.sealed(agent_id="agt_9")], "a value for agt_9"),
        "shape": ([{"password": CANARY}], "must be a list of objects"),
        "another connection's": ([one.sealed(), other.sealed(job_id="x")], "26 characters"),
    }.values():
        with pytest.raises(InvalidError, match=sentence):
            deliver(world, pool_id="default", sealed=values)
    assert world.poll(one.id) == []
    assert CANARY.encode() not in everything(world)


def test_an_agent_without_a_key_is_named_when_values_are_sealed(world):
    one, plain = Keyed(world), world.base_agent()
    values = [one.sealed(), one.sealed(agent_id=plain)]
    with pytest.raises(ConflictError, match="takes nothing sealed"):
        deliver(world, pool_id="default", sealed=values)
    assert world.poll(one.id) == []


def test_who_it_is_for_has_to_be_said_and_to_exist(world):
    one = Keyed(world)
    for asked in ({}, {"agent_id": one.id, "pool_id": "default"}):
        with pytest.raises(InvalidError, match="give agentId, or poolId"):
            deliver(world, credentials=SECRET, **asked)
    for asked in ({"agent_id": "agt_none"}, {"pool_id": "none"}):
        with pytest.raises(NotFoundError):
            deliver(world, credentials=SECRET, **asked)
    keyed = Keyed(world, "emptied")
    world.write(lambda s, now: agents.remove(s, now, keyed.id))
    with pytest.raises(ConflictError, match="has no agent yet"):
        deliver(world, credentials=SECRET, pool_id="emptied")


def test_half_a_character_cannot_be_delivered(world):
    with pytest.raises(InvalidError, match="cannot be sealed for agent"):
        deliver(world, agent_id=Keyed(world).id, credentials={"password": "\ud800"})
