from __future__ import annotations

import base64

import pytest

from controlplane.models.tables import OutputChunk
from controlplane.services import outputs
from controlplane.services.changes import changes_of
from controlplane.services.errors import ConflictError, NotFoundError
from easyalert.protocol.messages import OutputRequest


@pytest.fixture
def running(world):
    """Agent and job: it has acknowledged the job."""
    agent = world.agent()
    job = world.submit()
    (envelope,) = world.poll(agent)
    world.ack(agent, envelope)
    return agent, job


def request(agent, *chunks, attempt=1, totals=None):
    said = {"agentId": agent, "attempt": attempt, "chunks": []}
    for seq, stream, offset, data in chunks:
        said["chunks"].append({"seq": seq, "stream": stream, "offset": offset, "data": base64.b64encode(data).decode()})
    if totals is not None:
        said["totals"] = {"stdout": totals[0], "stderr": totals[1]}
    return OutputRequest.model_validate(said)


def take(world, agent, job, *chunks, **more):
    return world.write(lambda s, now: outputs.take(s, now, agent, job, request(agent, *chunks, **more)))


def find(world, job, **more):
    return world.read(lambda s, _now: outputs.find(s, job, **more))


def stdout(found):
    return b"".join(piece.data for piece in found.pieces if piece.stream == "stdout")


def test_chunks_are_kept_and_the_next_number_told(world, running):
    agent, job = running
    assert take(world, agent, job, (0, "stdout", 0, b"one\n"), (4, "stderr", 0, b"oops")) == 8
    assert take(world, agent, job, (8, "stdout", 4, b"two\n")) == 12
    found = find(world, job)
    assert stdout(found) == b"one\ntwo\n"
    assert found.totals == {"stdout": 8, "stderr": 4}
    assert not found.complete
    assert take(world, agent, job, totals=(8, 4)) == 12
    assert find(world, job).complete


def test_repeated_and_overlapping_chunks_count_once(world, running):
    agent, job = running
    take(world, agent, job, (0, "stdout", 0, b"abc"))
    assert take(world, agent, job, (0, "stdout", 0, b"abc")) == 3
    assert take(world, agent, job, (0, "stdout", 0, b"abcdef")) == 6
    assert stdout(find(world, job)) == b"abcdef"


def test_gaps_are_kept_as_gaps(world, running):
    agent, job = running
    assert take(world, agent, job, (0, "stdout", 0, b"a"), (100, "stdout", 100, b"b")) == 101
    assert [(p.seq, p.data) for p in find(world, job).pieces] == [(0, b"a"), (100, b"b")]


def test_small_neighbours_share_a_row(world, running):
    agent, job = running
    for number in range(300):
        take(world, agent, job, (number * 4, "stdout", number * 4, b"%03d\n" % number))
    assert world.read(lambda s, _now: s.query(OutputChunk).count()) == 1
    assert stdout(find(world, job, after=1196)) == stdout(find(world, job))


def test_beginning_and_end_are_kept_of_however_much(world, running, monkeypatch):
    monkeypatch.setattr(outputs, "HEAD_BYTES", 1000)
    monkeypatch.setattr(outputs, "TAIL_BYTES", 1000)
    monkeypatch.setattr(outputs, "_JOIN_BYTES", 100)
    agent, job = running
    printed = b"".join(b"%09d\n" % number for number in range(1000))
    for start in range(0, len(printed), 90):
        data = printed[start : start + 90]
        take(world, agent, job, (start, "stdout", start, data))
    found = find(world, job)
    kept = stdout(found)
    assert 2000 <= len(kept) < 2300
    assert printed.startswith(kept[:1000])
    assert printed.endswith(kept[-1000:])
    assert found.totals["stdout"] == len(printed)
    for piece in found.pieces:
        assert printed[piece.offset : piece.offset + len(piece.data)] == piece.data


def test_only_the_agent_that_has_the_attempt_may_add(world, running):
    agent, job = running
    other = world.agent()
    with pytest.raises(ConflictError):
        take(world, other, job, (0, "stdout", 0, b"x"))
    with pytest.raises(NotFoundError):
        take(world, agent, "job_unknown", (0, "stdout", 0, b"x"))
    with pytest.raises(NotFoundError):
        take(world, agent, job, (0, "stdout", 0, b"x"), attempt=2)


def test_whoever_follows_the_job_is_told(world, running):
    agent, job = running

    def work(session, _now):
        outputs.take(session, world.clock.now(), agent, job, request(agent, (0, "stdout", 0, b"x")))
        return set(changes_of(session).output)

    assert world.write(work) == {job}


def result(job, **more):
    return {
        "jobId": job,
        "status": "success",
        "output": None,
        "error": None,
        "exitCode": 0,
        "durationMs": 1,
        "attempt": 1,
        **more,
    }


def test_without_live_output_the_result_is_read(world, running):
    agent, job = running
    assert find(world, job).pieces == []
    assert not find(world, job).over
    world.report(agent, result(job, output={"stdout": "ü\n", "stderr": "e", "truncated": True}))
    found = find(world, job)
    assert [(p.stream, p.seq, p.data) for p in found.pieces] == [("stdout", 0, "ü\n".encode()), ("stderr", 3, b"e")]
    assert found.complete
    assert found.shortened


def test_a_job_without_output_in_its_result_may_still_send_some(world, running):
    agent, job = running
    world.report(agent, result(job, status="error", error="in_doubt: x", outcome="in_doubt"))
    assert not find(world, job).complete
    take(world, agent, job, (0, "stdout", 0, b"last words"), totals=(10, 0))
    assert find(world, job).complete


def test_a_job_nobody_has_taken_has_none(world):
    job = world.submit(pool_id="default") if world.agent() else ""
    found = find(world, job)
    assert (found.attempt, found.pieces, found.over) == (0, [], False)
    with pytest.raises(NotFoundError):
        find(world, "job_unknown")
    with pytest.raises(NotFoundError):
        find(world, job, attempt=1)


def test_output_goes_with_its_job(world, running):
    agent, job = running
    take(world, agent, job, (0, "stdout", 0, b"x"))
    world.write(lambda s, _now: s.execute(outputs.Job.__table__.delete().where(outputs.Job.id == job)))
    assert world.read(lambda s, _now: s.query(OutputChunk).count()) == 0
