"""Requests that are tried again (RFC 9110, 9.2.2 and 10.2.3), on real sockets."""

import time

import pytest

from easyalert.errors import InvalidParameter
from tests.support.raw_http import RawHttpServer
from tests.support.tls import throwaway_authority
from tests.workers.executors.http_case import answer, runner
from workers.executors.http import HttpExecutor, RequestParameters
from workers.sdk.executor import parse

AT_ONCE = {"Retry_After": "0"}


@pytest.fixture
def run(tmp_path):
    return runner(tmp_path)


class Script(RawHttpServer):
    """Gives each request the next of its answers; None hangs up, a callable does as it likes. The last one stays."""

    def __init__(self, *answers, **options):
        super().__init__(self.next, **options)
        self.answers = list(answers)
        self.bodies = []

    async def next(self, reader, writer):
        head = self.requests[-1].lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        self.bodies.append(await reader.readexactly(length))
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(given):
            await given(reader, writer)
        elif given is not None:
            writer.write(given)
            await writer.drain()


async def silent(reader, _writer):
    await reader.read()


BUSY = answer(503, **AT_ONCE)
FINE = answer(200, b"fine")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "delete"])
def test_until_it_succeeds(run, method):
    server = Script(BUSY, answer(429, **AT_ONCE), None, FINE)
    result = run(server, {"url": "http://SERVER/", "method": method, "retries": 3, "body": "the body"})
    assert result["status"] == "success", result
    assert server.connections == 4
    assert server.bodies == [b"the body"] * 4
    assert len({request.split("\r\n")[0] for request in server.requests}) == 1
    attempts = result["output"]["attempts"]
    assert [attempt.get("statusCode") for attempt in attempts] == [503, 429, None, 200]
    assert [attempt.get("pauseMs") for attempt in attempts[:2]] == [0, 0]
    assert attempts[2]["error"].startswith("no answer from http://")
    assert 500 <= attempts[2]["pauseMs"] <= 4_000  # nobody said how long
    assert "pauseMs" not in attempts[3]
    assert all(attempt["durationMs"] >= 0 for attempt in attempts)


def test_when_it_never_succeeds_the_last_answer_counts(run):
    server = Script(BUSY, answer(503, b"still busy", **AT_ONCE))
    result = run(server, {"url": "http://SERVER/", "retries": "2"})
    assert (result["status"], result["error"]) == ("error", "HTTP 503 (3 attempts)")
    assert result["output"]["body"] == "still busy"
    assert len(result["output"]["attempts"]) == server.connections == 3


def test_when_no_answer_ever_comes(run):
    result = run(Script(None), {"url": "http://SERVER/", "retries": 1})
    assert (result["status"], result["exitCode"]) == ("error", -1)
    assert result["error"].endswith("(2 attempts)")
    assert set(result["output"]) == {"attempts"}


@pytest.mark.parametrize(
    ("params", "connections"),
    [
        ({}, 1),  # retries are wanted or not made
        ({"retries": 2, "retryOn": "429"}, 1),
        ({"retries": 2, "retryOn": [429, "5xx"]}, 3),
        ({"retries": 2, "retryOn": "500-503"}, 3),
        ({"retries": 2, "retryOn": ""}, 3),  # as if not given
        ({"retries": 2, "retryOn": "no-answer"}, 1),
        ({"retries": 2, "assertions": {"statusCodes": "503"}}, 1),  # it is what is wanted
        ({"retries": 2, "assertions": {"statusCodes": "200"}}, 3),
    ],
)
def test_what_is_tried_again(run, params, connections):
    server = Script(BUSY)
    run(server, {"url": "http://SERVER/", **params})
    assert server.connections == connections


@pytest.mark.parametrize("status", [400, 401, 404, 500, 501])
def test_what_another_attempt_would_not_change_is_not(run, status):
    server = Script(answer(status))
    run(server, {"url": "http://SERVER/", "retries": 2})
    assert server.connections == 1


def test_no_answer_only_where_that_is_asked_for(run):
    server = Script(None)
    run(server, {"url": "http://SERVER/", "retries": 2, "retryOn": "503"})
    assert server.connections == 1


def test_a_certificate_that_is_not_trusted_will_not_be_the_next_time(run, tmp_path):
    server = Script(FINE, tls=throwaway_authority(tmp_path, "localhost").server_context())
    result = run(server, {"url": "https://SERVER/", "retries": 3})
    assert "is not trusted" in result["error"]
    assert len(result["output"]["attempts"]) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "PROPFIND"])
def test_what_may_take_effect_twice_is_refused(run, method):
    server = Script(BUSY)
    with pytest.raises(InvalidParameter, match="'retries' is for GET, HEAD, OPTIONS, PUT, DELETE only"):
        run(server, {"url": "http://SERVER/", "method": method, "retries": 1})
    assert server.connections == 0


@pytest.mark.parametrize("asked", ["3600", "Fri, 31 Dec 2049 23:59:59 GMT"])
def test_a_pause_longer_than_the_job_is_not_begun(run, asked):
    server = Script(answer(503, Retry_After=asked))
    result = run(server, {"url": "http://SERVER/", "retries": 5})
    assert server.connections == 1
    assert result["error"].startswith("HTTP 503; it asks for a pause of ")
    assert "pauseMs" not in result["output"]["attempts"][0]


def test_a_cancelled_job_does_not_wait_out_its_pause(run):
    server = Script(answer(503, Retry_After="20"))
    began = time.monotonic()
    result = run(server, {"url": "http://SERVER/", "retries": 5}, cancelled=lambda: server.connections > 0)
    assert "cancelled" in result["error"]
    assert time.monotonic() - began < 15, "the pause would take 20 s"
    assert server.connections == 1


def test_the_jobs_limit_ends_them_all(run):
    server = Script(BUSY, silent)
    result = run(server, {"url": "http://SERVER/", "retries": 5}, deadline=time.monotonic() + 1)
    assert (result["exitCode"], result["error"]) == (-1, "timed out after 30 seconds")
    assert [attempt.get("statusCode") for attempt in result["output"]["attempts"]] == [503, None]
    assert server.connections == 2


def test_each_attempt_has_its_own_limit(run):
    server = Script(silent, FINE)
    result = run(server, {"url": "http://SERVER/", "retries": 1, "timeoutSeconds": 0.3})
    assert result["status"] == "success", result
    assert "within 0.3 s" in result["output"]["attempts"][0]["error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retries", -1), ("retries", 11), ("retries", True), ("retries", "often"), ("retries", 1.5),
        ("retryOn", "soon"), ("retryOn", "503\n"), ("retryOn", {"a": 1}), ("retryOn", "503;429"), ("retryOn", "5,"*2000),
    ],
)  # fmt: skip
def test_bad_values_are_named(name, value):
    with pytest.raises(InvalidParameter) as caught:
        parse(RequestParameters, {"url": "http://a", name: value})
    assert caught.value.parameter == name


def test_the_agent_itself_repeats_a_job_as_before():
    may_repeat = HttpExecutor().spec("request").may_repeat
    assert not may_repeat({"url": "http://a", "method": "PUT", "retries": 3})
    assert may_repeat({"url": "http://a", "retries": 3})
