from __future__ import annotations

import base64
import json
import threading
import time
from contextlib import contextmanager

import pytest

from controlplane.api import operator_output
from easyalert.protocol import paths

pytestmark = pytest.mark.system


class Printing:
    """An agent with a job it prints for."""

    def __init__(self, live):
        self.live = live
        self.agent = live.agent()
        self.id = live.submit()
        (envelope,) = self.agent.poll(wait=5)
        self.agent.ack(envelope)

    def send(self, *chunks, totals=None):
        """Chunks are (seq, stream, offset, bytes)."""
        body = {"agentId": self.agent.id, "attempt": 1, "chunks": []}
        for seq, stream, offset, data in chunks:
            text = base64.b64encode(data).decode()
            body["chunks"].append({"seq": seq, "stream": stream, "offset": offset, "data": text})
        if totals:
            body["totals"] = {"stdout": totals[0], "stderr": totals[1]}
        answer = self.agent.client.post(paths.JOB_OUTPUT.format(job_id=self.id), json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["next"]

    def finish(self, **more):
        result = {"jobId": self.id, "attempt": 1, "status": "success", "output": None, "error": None, **more}
        self.agent.report({**result, "exitCode": 0, "durationMs": 1})

    def get(self, **query):
        return self.live.operator.get(f"/api/v1/jobs/{self.id}/output", params=query)

    @contextmanager
    def following(self, last=None, **query):
        headers = self.live.bearer() | ({"Last-Event-ID": last} if last else {})
        url = f"/api/v1/jobs/{self.id}/output"
        with self.live.client(headers=headers).stream("GET", url, params={"follow": "true", **query}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield events(answer)


def events(answer):
    event = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name == "data":
            event |= json.loads(value)
        elif line and name:
            event[name] = value
        elif event.keys() - {"retry"}:
            yield event
            event = {}


@pytest.fixture
def job(live):
    return Printing(live)


def test_what_was_printed_so_far(job):
    assert job.send((0, "stdout", 0, b"one \xc3"), (5, "stderr", 0, b"oops")) == 9
    data = job.get().json()["data"]
    assert [(c["type"], c["stream"], c["text"]) for c in data["chunks"]] == [
        ("chunk", "stdout", "one "),
        ("chunk", "stderr", "oops"),
    ]
    assert (data["complete"], data["truncated"], data["stdoutBytes"], data["stderrBytes"]) == (False, False, 5, 4)
    job.send((9, "stdout", 5, b"\xa9"))
    assert job.get(format="text").text == "one oops\N{LATIN SMALL LETTER E WITH ACUTE}"
    assert job.get(format="text", stream="stderr").text == "oops"
    assert job.get(format="text").headers["content-type"].startswith("text/plain")


def test_what_is_missing_is_said_at_its_place_and_counted(job):
    job.send((0, "stdout", 0, b"a"), (11, "stdout", 11, b"b"), totals=(20, 0))
    data = job.get().json()["data"]
    assert [c.get("text") or c["missingBytes"] for c in data["chunks"]] == ["a", 10, "b", 8]
    assert (data["truncated"], data["complete"], data["stdoutBytes"]) == (True, True, 20)
    assert job.get(format="text").text.count("left out") == 2


def test_follow_tells_what_comes_when_it_comes_and_ends_with_the_job(job):
    with job.following() as stream:
        job.send((0, "stdout", 0, b"one\n"))
        sent = time.monotonic()
        first = next(stream)
        assert time.monotonic() - sent < 14, "not at the next sign of life, after 15 s"
        assert (first["event"], first["text"], first["id"]) == ("chunk", "one\n", "1-4")
        job.send((4, "stderr", 0, b"two\n"), totals=(4, 4))
        assert next(stream)["text"] == "two\n"
        job.finish()
        end = next(stream)
        assert (end["event"], end["status"], end["complete"]) == ("end", "success", True)
        assert (end["stdoutBytes"], end["stderrBytes"]) == (4, 4)
        assert list(stream) == []


def test_a_follower_that_comes_back_gets_exactly_the_rest(job):
    job.send((0, "stdout", 0, b"one\n"))
    with job.following() as stream:
        last = next(stream)["id"]
    job.send((4, "stdout", 4, b"two\n"), totals=(8, 0))
    job.finish()
    with job.following(last) as stream:
        assert [event.get("text") for event in stream] == ["two\n", None]


def test_output_that_comes_after_the_result_is_told_before_the_end(job):
    with job.following() as stream:
        job.send((0, "stdout", 0, b"one\n"))
        next(stream)
        job.finish()
        job.send((4, "stdout", 4, b"two\n"), totals=(8, 0))
        assert [(event["event"], event.get("text")) for event in stream] == [("chunk", "two\n"), ("end", None)]


def test_an_end_that_nobody_tells_is_not_waited_for_for_ever(job, monkeypatch):
    monkeypatch.setattr(operator_output, "LAST_WORDS_S", 0.2)
    with job.following() as stream:
        job.send((0, "stdout", 0, b"one\n"))
        job.finish()
        assert [(event["event"], event.get("complete")) for event in stream] == [("chunk", None), ("end", False)]


def test_a_job_without_live_output_is_told_from_its_result(job):
    with job.following(stream="stdout") as stream:
        job.finish(output={"stdout": "all\n", "stderr": "", "truncated": False})
        assert [(event["event"], event.get("text")) for event in stream] == [("chunk", "all\n"), ("end", None)]
    assert job.get().json()["data"]["complete"]


def test_a_quiet_job_keeps_the_connection_alive(job, monkeypatch):
    monkeypatch.setattr(operator_output, "KEEP_ALIVE_S", 0.05)
    headers = job.live.bearer()
    url = f"/api/v1/jobs/{job.id}/output"
    with job.live.client(headers=headers).stream("GET", url, params={"follow": "true"}) as answer:
        lines = answer.iter_lines()
        assert any(line.startswith(":") for _, line in zip(range(20), lines, strict=False))


def test_the_servers_stop_lets_followers_go_without_an_end(job):
    job.send((0, "stdout", 0, b"one\n"))
    with job.following() as stream:
        next(stream)
        threading.Timer(0.1, job.live.stop_waiting).start()
        began = time.monotonic()
        assert list(stream) == []
        assert time.monotonic() - began < 10


def test_followers_that_leave_are_forgotten(job):
    for _ in range(3):
        with job.following():
            pass
    job.send((0, "stdout", 0, b"one\n"))
    end = time.monotonic() + 5
    while job.live.runtime.output_watch._events and time.monotonic() < end:
        time.sleep(0.02)
    assert job.live.runtime.output_watch._events == {}


def test_unknown_jobs_attempts_and_places_are_refused(job):
    get = job.live.operator.get
    assert get("/api/v1/jobs/job_x/output").status_code == 404
    assert get("/api/v1/jobs/job_x/output", params={"follow": "true"}).status_code == 404
    assert job.get(attempt=7).status_code == 404
    assert get(f"/api/v1/jobs/{job.id}/output", headers={"Last-Event-ID": "x"}).status_code == 422


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"agentId": "agt_other"}, 409),
        ({"attempt": 0}, 422),
        ({"attempt": 2**63}, 422),
        ({"attempt": 9}, 404),
        ({"chunks": [{"seq": -1, "stream": "stdout", "offset": 0, "data": ""}]}, 422),
        ({"chunks": [{"seq": 2**70, "stream": "stdout", "offset": 0, "data": ""}]}, 422),
        ({"chunks": [{"seq": 0, "stream": "stdin", "offset": 0, "data": ""}]}, 422),
        ({"chunks": [{"seq": 0, "stream": "stdout", "offset": 0, "data": "abc"}]}, 422),
        ({"chunks": 5}, 422),
    ],
)
def test_what_an_agent_may_not_send(job, change, status):
    body = {"agentId": job.agent.id, "attempt": 1, "chunks": [], **change}
    assert job.agent.client.post(paths.JOB_OUTPUT.format(job_id=job.id), json=body).status_code == status


def test_another_agent_cannot_add_to_it(job):
    other = job.live.agent()
    body = {"agentId": other.id, "attempt": 1, "chunks": []}
    assert other.client.post(paths.JOB_OUTPUT.format(job_id=job.id), json=body).status_code == 409
