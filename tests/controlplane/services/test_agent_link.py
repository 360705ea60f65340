import pytest

from controlplane.models.tables import Agent, Attempt, Notification
from controlplane.services import agent_link, agents
from controlplane.services.errors import UnauthorizedError
from tests.controlplane.world import result


def test_registration_is_kept_and_only_common_features_count(world):
    agent = world.agent(capabilities=["http", "script"], max_concurrent_jobs=3, public_key="pk")
    world.register(agent, features=["ack", "telepathy", "longPoll"], capabilities=["ssh"], max_concurrent_jobs=10**9)
    row = world.row(Agent, agent)
    assert row.features == ["longPoll", "ack"]
    assert row.capabilities == ["ssh"]
    assert row.max_concurrent_jobs == 1000
    assert row.hostname == "h"


def test_registering_again_without_features_makes_it_a_base_agent(world):
    agent = world.agent()
    world.register(agent)
    job = world.submit()
    assert world.poll(agent) == [
        {"jobId": job, "actionType": "script.bash", "connectionId": None, "params": {"script": "true"}}
    ]


def test_a_registered_agent_is_online_before_its_first_heartbeat(world):
    agent = world.agent()
    world.submit()
    assert len(world.poll(agent)) == 1


def test_offline_gives_back_what_was_not_acknowledged_at_once(world):
    a, b = world.agent(), world.agent()
    first, second = world.submit(), world.submit()
    world.clock.sleep(5)
    taken, left = world.poll(a, 2)
    world.ack(a, taken)
    world.heartbeat(a, "offline")
    assert world.state(first) == "accepted"
    assert world.state(second) == "pending"
    assert "went offline" in world.job(second)["statusReason"]
    world.clock.sleep(2)
    assert [(j["jobId"], j["attempt"]) for j in world.poll(b)] == [(left["jobId"], 2)]


def test_offline_agents_get_nothing_until_they_say_otherwise(world):
    agent = world.agent()
    world.heartbeat(agent, "offline")
    world.submit()
    assert world.poll(agent) == []
    world.heartbeat(agent)
    assert len(world.poll(agent)) == 1


def test_a_return_wakes_the_pool_an_ordinary_heartbeat_does_not(world):
    agent = world.agent()
    woken = []
    world.database.after_commit = lambda session: woken.append("changes" in session.info)
    world.heartbeat(agent)
    world.clock.sleep(91)
    world.heartbeat(agent)
    world.heartbeat(agent, "offline")
    world.heartbeat(agent)
    assert woken == [False, True, False, True]


def test_running_jobs_are_renewed_only_by_who_has_them(world):
    a, b = world.agent(), world.agent("elsewhere")
    job = world.submit(pool_id="default")
    wire = world.take(a)
    item = {"jobId": job, "attempt": wire["attempt"]}
    world.heartbeat(b, running=[item])
    assert world.state(job) == "accepted"
    world.heartbeat(a, running=[{**item, "attempt": 7}, {"jobId": "job_x", "attempt": 1}])
    assert world.state(job) == "accepted"
    world.heartbeat(a, running=[item])
    assert world.state(job) == "running"
    at = world.clock.now()
    world.clock.sleep(30)
    world.heartbeat(a, running=[item])
    row = world.row(Attempt, (job, 1))
    assert (row.running_at, row.renewed_at) == (at, at + 30)


def test_a_finished_job_does_not_run_again_by_a_late_heartbeat(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.report(agent, result(wire))
    world.heartbeat(agent, running=[{"jobId": job, "attempt": 1}])
    assert world.state(job) == "success"


def test_components_that_are_not_ok_degrade(world):
    agent = world.agent()
    view = lambda: world.read(  # noqa: E731 - a word of this test
        lambda s, now: agents.view(s.get(Agent, agent), agents.fleet.Figures(), now)
    )
    world.heartbeat(agent, components={"vault": "ok", "redis": "ok"})
    assert view()["status"] == "online"
    world.heartbeat(agent, components={"vault": "locked", "redis": "ok"})
    assert view()["status"] == "degraded"
    assert view()["components"]["vault"] == "locked"


def test_the_end_of_an_agents_record_is_witnessed(world):
    agent = world.agent()
    world.heartbeat(agent, audit={"seq": 7, "hash": "a" * 64})
    found = world.read(lambda s, now: agents.view(s.get(Agent, agent), agents.fleet.Figures(), now))
    assert found["auditHead"] == {"seq": 7, "hash": "a" * 64}


def test_how_an_agent_keeps_its_scripts_is_shown(world):
    agent = world.agent()
    view = lambda: world.read(  # noqa: E731 - a word of this test
        lambda s, now: agents.view(s.get(Agent, agent), agents.fleet.Figures(), now)
    )
    world.heartbeat(agent)
    assert view()["scriptIsolation"] is None
    said = {"mode": "none", "asked": "auto", "exposed": ["vault"], "reason": "userns: no"}
    world.heartbeat(agent, script_isolation=said)
    assert view()["scriptIsolation"] == said
    assert view()["status"] == "online", "it is for the operator to judge"


def test_notifications_are_kept_without_what_cannot_be_stored(world):
    agent = world.agent()
    body = {"type": "slack", "message": "disk\x00 full", "channel": None}
    world.write(lambda s, now: agent_link.notify(s, now, agent, body))
    world.write(lambda s, now: agent_link.notify(s, now, agent, {"type": None, "channel": "#ops"}))
    rows = world.read(lambda s, _now: [(n.type, n.message, n.channel) for n in s.query(Notification).order_by("id")])
    assert sorted(rows) == [("", "", "#ops"), ("slack", "disk full", None)]


def test_a_deleted_agents_request_in_flight_is_unauthorized(world):
    with pytest.raises(UnauthorizedError):
        world.heartbeat("agt_gone")
