import base64
import time

from sqlalchemy import func, select

from controlplane.models.tables import Attempt, OutputChunk
from controlplane.services import outputs, retention
from easyalert.protocol.messages import OutputRequest
from tests.controlplane.world import result

DAY = 86_400.0


def printed(world, agent, size=10):
    """A job that has printed so many bytes, live and in its result."""
    job = world.submit()
    wire = world.take(agent)
    data = base64.b64encode(b"x" * size).decode()
    said = {"agentId": agent, "attempt": 1, "chunks": [{"seq": 0, "stream": "stdout", "offset": 0, "data": data}]}
    said["totals"] = {"stdout": size, "stderr": 0}
    request = OutputRequest.model_validate(said)
    world.write(lambda s, now: outputs.take(s, now, agent, job, request))
    world.report(agent, result(wire, output={"stdout": "x" * size}))
    return job


def drop(world, days=30, **piece):
    before = world.clock.now() - days * DAY
    due = world.read(lambda s, _now: retention.is_due(s, before))
    dropped = world.write(lambda s, _now: retention.drop_outputs(s, before, **piece))
    assert due == (dropped > 0)
    return dropped


def test_outputs_go_when_their_time_is_over_and_the_job_says_so(world):
    agent = world.agent()
    job = printed(world, agent)
    world.clock.sleep(29 * DAY)
    assert drop(world) == 0
    before = world.job(job)
    assert before["result"]["output"] == {"stdout": "x" * 10}
    assert before["result"]["outputKept"]
    world.clock.sleep(2 * DAY)
    assert [drop(world) for _ in range(3)] == [1, 1, 0], "the result's, the live one, nothing"
    after = world.job(job)
    assert (after["status"], after["result"]["status"], after["result"]["exitCode"]) == ("success", "success", 0)
    assert (after["result"]["output"], after["result"]["outputKept"]) == (None, False)
    found = world.read(lambda s, _now: outputs.find(s, job))
    assert (found.pieces, found.totals, found.complete, found.dropped) == ([], {"stdout": 10, "stderr": 0}, True, True)


def test_a_result_that_was_the_only_output_says_so_too(world):
    agent = world.agent()
    job = world.submit()
    world.report(agent, result(world.take(agent), output={"stdout": "hello"}))
    world.clock.sleep(31 * DAY)
    assert drop(world) == 1
    found = world.read(lambda s, _now: outputs.find(s, job))
    assert (found.pieces, found.complete, found.dropped) == ([], True, True)


def test_a_job_that_had_no_output_says_nothing(world):
    agent = world.agent()
    job = world.submit()
    world.report(agent, result(world.take(agent), output=None))
    world.clock.sleep(31 * DAY)
    assert drop(world) == 0
    assert world.job(job)["result"]["outputKept"]


def test_it_goes_in_pieces_that_hold_the_write_lock_shortly(world):
    agent = world.agent()
    for _ in range(25):
        printed(world, agent, 60_000)
    world.clock.sleep(31 * DAY)
    world.heartbeat(agent)
    young = printed(world, agent)
    sizes, longest = [], 0.0
    while not sizes or sizes[-1]:
        began = time.monotonic()
        sizes.append(drop(world))
        longest = max(longest, time.monotonic() - began)
    assert sizes == [10, 10, 5, 10, 10, 5, 0]
    assert longest < 2, "a piece is far from the leases' 60 s even on a busy machine"
    left = world.read(lambda s, _now: (s.scalar(select(func.count()).select_from(OutputChunk)),
                                       s.scalar(select(func.count()).where(Attempt.output.is_not(None)))))  # fmt: skip
    assert left == (1, 1)
    assert world.job(young)["result"]["outputKept"]
