from tests.controlplane.world import result


def steps(world, job):
    return {step["step"]: step["ms"] for step in world.job(job)["timings"]}


def test_every_step_has_its_time(world):
    agent = world.agent()
    job = world.submit()
    world.clock.sleep(1)
    (wire,) = world.poll(agent)
    world.clock.sleep(0.1)
    world.ack(agent, wire)
    world.clock.sleep(5)
    told = {"acknowledgedMs": 120, "startedMs": 150, "finishedMs": 4150, "reportedMs": 4200}
    world.report(agent, result(wire, timings=told))
    assert steps(world, job) == {
        "created": 0,
        "dispatched": 1000,
        "acknowledged": 1120,
        "started": 1150,
        "finished": 5150,
        "received": 6100,
    }
    assert world.job(job)["timings"][0]["at"].endswith("Z")


def test_an_agents_odd_offsets_stay_between_hand_out_and_receipt_and_never_decrease(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.clock.sleep(2)
    told = {"acknowledgedMs": 10**9, "startedMs": 5, "finishedMs": -50}
    world.report(agent, result(wire, timings=told))
    shown = [step["ms"] for step in world.job(job)["timings"]]
    assert shown == sorted(shown)
    assert max(shown) == 2000


def test_a_base_agent_shows_what_is_known(world):
    agent = world.base_agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    world.clock.sleep(3)
    world.report(agent, result(wire), features=())
    assert steps(world, job) == {"created": 0, "dispatched": 0, "received": 3000}


def test_running_is_shown_from_heartbeats(world):
    agent = world.agent()
    job = world.submit()
    world.take(agent)
    world.clock.sleep(1)
    world.heartbeat(agent, running=[{"jobId": job, "attempt": 1}])
    assert steps(world, job)["started"] == 1000


def test_why_is_kept_from_the_moment_of_dispatch(world):
    a, b = world.agent(name="a"), world.agent(name="b")
    job = world.submit()
    assert {row["name"] for row in world.job(job)["why"]["candidates"]} == {"a", "b"}
    (winner,) = world.poll_all({a: 1, b: 1})
    why = world.job(job)["why"]
    assert [row["agentId"] for row in why["candidates"] if row["verdict"] == "chosen"] == [winner]
    world.clock.sleep(1000)
    assert world.job(job)["why"] == why


def test_why_of_a_job_nobody_ever_got(world):
    world.agent()
    job = world.submit()
    world.clock.sleep(86_400)
    world.sweep()
    assert "maximum queue age" in world.job(job)["why"]["sentence"]
