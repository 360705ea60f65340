from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from chaos.load import Load, planned
from chaos.recorder import Recorder
from tests.support.waiting import eventually


@pytest.fixture
def recorder(tmp_path):
    recorder = Recorder(tmp_path)
    yield recorder
    recorder.close()


def test_the_same_seed_gives_the_same_jobs_in_batches_at_an_even_pace():
    jobs = planned(4, 100, 50.0)
    assert jobs == planned(4, 100, 50.0)
    assert jobs != planned(5, 100, 50.0)
    assert [job.at for job in jobs[::4]] == [number // 2 * 4.0 for number in range(25)]
    assert sum(job.idempotent for job in jobs) == 10
    cancelled = [job for job in jobs if job.cancel_after is not None]
    assert [job.number for job in cancelled] == list(range(5, 100, 12))
    assert min(job.length for job in cancelled) >= 0.5, "long enough to be cancelled in its midst"


def test_a_job_whose_submission_failed_is_handed_in_again_under_the_same_key(recorder):
    answers = iter((httpx.ConnectError("away"), httpx.Response(503), httpx.Response(201, json={"data": {"id": "j"}})))
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://plane") as api:
        load = Load(api, recorder, planned(1, 1, 0.0), "run")
        load.start()
        eventually(lambda: not load.busy, what="the load handed in")
    assert load.ids == {0: "j"}
    assert load.refused == []
    assert [body["idempotencyKey"] for body in bodies] == ["run-0"] * 3


def test_a_refused_job_is_told_and_not_repeated(recorder):
    transport = httpx.MockTransport(lambda _request: httpx.Response(400, text="no"))
    with httpx.Client(transport=transport, base_url="http://plane") as api:
        load = Load(api, recorder, planned(1, 1, 0.0), "run")
        load.start()
        eventually(lambda: not load.busy, what="the load handed in")
    assert load.ids == {}
    assert load.refused == ["job 0 was refused with 400: no"]


def test_a_job_is_cancelled_until_the_control_plane_has_answered(recorder):
    """Job 5 is one of those that are cancelled."""
    refusals = iter((httpx.ConnectError("away"), httpx.Response(503), httpx.Response(202)))

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/cancel"):
            number = json.loads(request.content)["idempotencyKey"].rpartition("-")[2]
            return httpx.Response(201, json={"data": {"id": f"j{number}"}})
        assert request.url.path == "/jobs/j5/cancel"
        found = next(refusals)
        if isinstance(found, Exception):
            raise found
        return found

    jobs = [replace(job, cancel_after=None if job.cancel_after is None else 0.0) for job in planned(1, 6, 0.0)]
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://plane") as api:
        load = Load(api, recorder, jobs, "run")
        load.start()
        eventually(lambda: load.cancels, what="the answer to the cancel")
        load.stop()
    assert load.cancels == {5: 202}
    assert load.refused == []
