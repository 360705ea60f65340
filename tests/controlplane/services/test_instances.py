"""One key, one running agent: who gets it, who is refused, and when it is free again."""

import pytest

from controlplane.models.tables import Agent
from controlplane.services import instances
from controlplane.services.errors import ConflictError, KeyInUseError
from controlplane.services.instances import Holder
from tests.controlplane.world import EXTENSIONS, result

SPOKEN = [*EXTENSIONS, "instance"]
FIRST = "aaaaaaaaaaaaaaaa.0001"
SECOND = "bbbbbbbbbbbbbbbb.0002"
FIRST_AFTER_A_BOOT = "aaaaaaaaaaaaaaaa.0003"


@pytest.fixture
def agent(world):
    """An agent whose key FIRST holds."""
    found = world.agent(features=())
    come(world, found, FIRST)
    return found


def come(world, agent, instance, features=SPOKEN):
    world.register(agent, features=features, instance=instance)


def refused(world, agent, instance):
    """What a request of this instance is told."""
    return world.read(lambda s, now: instances.why_not(Holder.of(s.get(Agent, agent)), instance, now, world.up_since))


def holder(world, agent):
    return world.row(Agent, agent).instance


def test_who_registers_first_holds_the_key_and_a_second_is_told_everything(world, agent):
    world.clock.sleep(30)
    with pytest.raises(KeyInUseError) as told:
        come(world, agent, SECOND)
    sentence = str(told.value)
    for part in ("host 'h' holds it since 2027-", "easyalert-controlplane agents create", "stop the other one"):
        assert part in sentence
    assert told.value.token == "key_in_use"
    assert told.value.retry_after == 60
    assert holder(world, agent) == FIRST
    assert isinstance(refused(world, agent, SECOND), KeyInUseError)
    assert refused(world, agent, FIRST) is None


def test_the_sentence_does_not_change_from_one_request_to_the_next(world, agent):
    sentences = set()
    for _ in range(3):
        world.clock.sleep(7)
        sentences.add(str(refused(world, agent, SECOND)))
    assert len(sentences) == 1, "it would be logged at every retry"


def test_a_restart_of_the_same_agent_is_never_refused(world, agent):
    for _ in range(3):
        come(world, agent, FIRST)
        world.clock.sleep(1)


def test_after_offline_nobody_is_refused(world, agent):
    world.heartbeat(agent, "offline")
    come(world, agent, SECOND)
    assert holder(world, agent) == SECOND


@pytest.mark.parametrize("newcomer", [SECOND, FIRST_AFTER_A_BOOT])
def test_who_has_died_without_a_word_is_waited_for_until_it_counts_as_offline(world, agent, newcomer):
    world.clock.sleep(100)
    world.heartbeat(agent)
    world.clock.sleep(89.9)
    with pytest.raises(KeyInUseError):
        come(world, agent, newcomer)
    world.clock.sleep(0.1)
    come(world, agent, newcomer)
    assert holder(world, agent) == newcomer


def test_a_copy_of_the_state_directory_is_named_as_such(world, agent):
    assert "copy of the same state directory" in str(refused(world, agent, FIRST_AFTER_A_BOOT))
    assert "copy" not in str(refused(world, agent, SECOND))


def test_nobody_could_be_heard_while_the_control_plane_was_down(world, agent):
    world.clock.sleep(4 * 3600)
    world.up_since = world.clock.now()
    world.clock.sleep(1)
    with pytest.raises(KeyInUseError):
        come(world, agent, SECOND)
    come(world, agent, FIRST)


def test_who_comes_back_after_it_was_superseded_is_found_out(world, agent):
    world.clock.sleep(100)
    come(world, agent, SECOND)
    assert isinstance(refused(world, agent, FIRST), KeyInUseError)
    world.heartbeat(agent, "offline")
    assert refused(world, agent, FIRST).token == "not_registered"
    come(world, agent, FIRST)
    assert refused(world, agent, FIRST) is None


def test_agents_that_do_not_say_who_they_are_are_served_as_ever(world):
    base = world.base_agent()
    world.register(base)
    assert refused(world, base, None) is None
    older = world.agent()
    world.register(older, features=list(EXTENSIONS))
    assert refused(world, older, None) is None


def test_one_that_does_not_say_who_it_is_is_refused_beside_one_that_does(world, agent):
    with pytest.raises(ConflictError):
        world.register(agent)
    assert isinstance(refused(world, agent, None), KeyInUseError)
    world.clock.sleep(90)
    assert refused(world, agent, None) is None
    world.register(agent)
    assert holder(world, agent) is None


def test_the_feature_is_spoken_only_with_a_name(world):
    for said in (None, "", "x", "a" * 200, "no dot here", "aaaaaaaa.\x00"):
        agent = world.agent(features=())
        world.register(agent, features=SPOKEN, instance=said)
        assert "instance" not in world.row(Agent, agent).features
        assert holder(world, agent) is None
    nameless = world.agent(features=())
    world.register(nameless, features=list(EXTENSIONS), instance=FIRST)
    assert holder(world, nameless) is None


def test_the_first_refusal_of_each_is_audited_and_shown(world, agent):
    def refuse(instance, host="edge-2"):
        return world.write(lambda s, now: instances.note_refusal(s, now, agent, instance, host))

    assert refuse(SECOND)
    for _ in range(200):
        world.clock.sleep(5)
        assert not refuse(SECOND)
    assert refuse(None, None)
    assert [row["action"] for row in world.audited(agent)] == ["agent.key_refused"] * 2
    told = world.audited(agent)[0]
    assert told["actor"] == f"agent-1 ({agent})"
    assert told["detail"] == {
        "host": "edge-2", "instance": "bbbbbbbb.0002", "holderHost": "h", "holder": "aaaaaaaa.0001",
    }  # fmt: skip
    shown = instances.view(world.row(Agent, agent))
    assert shown["host"] == "h"
    assert [other["host"] for other in shown["refusedOthers"]] == ["edge-2", None]
    assert shown["refusedOthers"][0]["lastAt"] > shown["refusedOthers"][0]["firstAt"]


def test_so_many_others_are_remembered_and_no_more(world, agent):
    for number in range(50):
        world.write(lambda s, now, n=number: instances.note_refusal(s, now, agent, f"{n:016d}.0001", "h"))
    assert len(world.row(Agent, agent).refused) == 20
    assert len(world.audited(agent)) == 20


def test_a_takeover_is_audited_a_boot_is_not(world, agent):
    world.clock.sleep(100)
    come(world, agent, FIRST_AFTER_A_BOOT)
    assert world.audited(agent) == []
    world.clock.sleep(100)
    come(world, agent, SECOND)
    (row,) = world.audited(agent)
    assert row["action"] == "agent.key_taken_over"
    assert (row["detail"]["instance"], row["detail"]["fromInstance"]) == ("bbbbbbbb.0002", "aaaaaaaa.0003")


def test_a_permit_is_not_given_to_two_of_them(world, agent):
    world.submit()
    (wire,) = world.poll(agent)
    assert world.ack(agent, wire, instance=FIRST).refused == []
    world.clock.sleep(100)
    come(world, agent, SECOND)
    assert [r.reason for r in world.ack(agent, wire, instance=SECOND).refused] == ["reassigned"]


def test_after_a_boot_the_permit_is_given_again(world, agent):
    world.submit()
    (wire,) = world.poll(agent)
    world.ack(agent, wire, instance=FIRST)
    world.clock.sleep(100)
    come(world, agent, FIRST_AFTER_A_BOOT)
    assert world.ack(agent, wire, instance=FIRST_AFTER_A_BOOT).refused == []


def test_the_result_of_one_that_was_superseded_is_taken(world, agent):
    job = world.submit()
    (wire,) = world.poll(agent)
    world.ack(agent, wire, instance=FIRST)
    world.clock.sleep(100)
    come(world, agent, SECOND)
    assert world.report(agent, result(wire))[0].receipt == "accepted"
    assert world.state(job) == "success"


def test_the_truth_replaces_a_doubt_that_a_clone_has_reported(world, agent):
    """It has the journal of the other one, and no process of the job: to it the job's worker has died."""
    job = world.submit()
    (wire,) = world.poll(agent)
    world.ack(agent, wire, instance=FIRST)
    world.clock.sleep(100)
    come(world, agent, FIRST_AFTER_A_BOOT)
    doubt = result(wire, "error", outcome="in_doubt", output=None, exitCode=-1)
    assert [world.report(agent, doubt)[0].receipt for _ in range(2)] == ["accepted", "duplicate"]
    assert world.state(job) == "in_doubt"
    assert [world.report(agent, result(wire))[0].receipt for _ in range(2)] == ["accepted", "duplicate"]
    assert world.state(job) == "success"
    assert world.report(agent, doubt)[0].receipt == "duplicate"
    assert world.audited(job)[-1]["action"] == "job.late_result"
