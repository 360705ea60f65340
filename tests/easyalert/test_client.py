from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import sys

import httpx
import pytest

from easyalert import client as module
from easyalert.client import ControlPlaneClient, encode
from easyalert.errors import (
    BadAnswer,
    ConfigurationError,
    ControlPlaneError,
    RateLimited,
    Refused,
    Unauthorized,
    Unreachable,
)
from easyalert.netguard.transport import system_trust
from easyalert.protocol.messages import HeartbeatRequest, OutputRequest, RegisterRequest, SystemMetrics
from easyalert.settings import AgentSettings
from tests.support.extended_server import ExtendedServer
from tests.support.faults import Answer, Cut, Slow, Status, too_many_requests
from tests.support.plain_server import PlainServer
from tests.support.ports import free_port
from tests.support.tls import throwaway_authority

REGISTER = RegisterRequest(hostname="h", agent_name="ä", version="1", platform="Linux", architecture="x86_64")
BEAT = HeartbeatRequest(
    agent_id="agt_1",
    status="online",
    jobs_executed=1,
    jobs_failed=0,
    uptime_seconds=3,
    version="1",
    system_metrics=SystemMetrics(),
)
RESULT = encode({"jobId": "j", "status": "success", "output": "ü", "error": None, "exitCode": 0, "durationMs": 1})


def settings(url, **more):
    return AgentSettings(_env_file=None, **{"agent_api_url": url, "agent_api_key": "ea_agent_of_the_tests", **more})


def ask(url, call, **more):
    async def run():
        client = ControlPlaneClient(settings(url, **more))
        try:
            return await call(client)
        finally:
            await client.close()

    return asyncio.run(run())


def poll(client):
    return client.poll("agt_1")


def report(client):
    return client.report([RESULT], receipts=False)


def test_the_base_protocol(plain_server):
    plain_server.give({"jobId": "j"}, None, "text")

    async def all_of_it(client):
        data = await client.register(REGISTER)
        assert (data.agent_id, data.features) == ("agt_1", [])
        assert await client.poll("agt_1") == [{"jobId": "j"}, None, "text"]
        assert await client.poll("agt_1") == []
        assert await client.report([RESULT, RESULT], receipts=False) is None
        assert await client.heartbeat(BEAT) == {}

    ask(plain_server.url, all_of_it)
    assert len(plain_server.results["j"]) == 2
    assert [seen.endpoint for seen in plain_server.seen] == ["register", "poll", "poll", "results", "heartbeat"]
    assert all(seen.headers["x-agent-api-key"] == "ea_agent_of_the_tests" for seen in plain_server.seen)


def test_a_large_report_goes_out_in_pieces_and_arrives_whole(plain_server):
    output = "ü" * 100_000
    large = [encode({**json.loads(RESULT), "jobId": f"j{number}", "output": output}) for number in range(3)]
    assert ask(plain_server.url, lambda client: client.report(large, receipts=False)) is None
    assert [plain_server.results[f"j{number}"][0]["output"] for number in range(3)] == [output] * 3
    (seen,) = plain_server.of("results")
    assert int(seen.headers["content-length"]) == sum(map(len, large)) + 4
    assert "transfer-encoding" not in seen.headers


def test_nothing_holds_the_body_of_a_large_request_that_was_answered(plain_server):
    body = encode({**json.loads(RESULT), "output": "x" * 1_000_000})

    async def once(client):
        before = sys.getrefcount(body)
        await client.report([body], receipts=False)
        return sys.getrefcount(body) - before

    gc.disable()  # a collection that happens to come would hide it
    try:
        assert ask(plain_server.url, once) == 0
    finally:
        gc.enable()


def test_the_bodies_of_large_requests_do_not_pile_up(plain_server):
    """Each is part of a cycle of references, which only a collection finds."""
    large = [encode({**json.loads(RESULT), "output": "x" * 500_000})]

    def living():
        return sum(isinstance(item, httpx.Request) for item in gc.get_objects())

    async def many(client):
        for _ in range(5):
            await client.report(large, receipts=False)
        return living()

    gc.collect()
    gc.disable()
    before = living()
    try:
        assert ask(plain_server.url, many) == before
    finally:
        gc.enable()


def test_orders_are_asked_for_by_a_poll_without_slots():
    server = ExtendedServer("longPoll", "cancel")
    server.cancel("job_1", attempt=2)
    try:
        found = ask(server.url, lambda client: client.orders("agt_1", wait=5))
        assert [(item.job_id, item.attempt) for item in found.cancel_jobs] == [("job_1", 2)]
        assert server.of("poll")[0].query == {"agentId": "agt_1", "wait": "5", "slots": "0"}
        server.fail("poll", Answer(b'{"data": []}'))
        with pytest.raises(BadAnswer):
            ask(server.url, lambda client: client.orders("agt_1", wait=0))
    finally:
        server.close()


@pytest.mark.parametrize("tail", ["", "/", "//"])
def test_the_path_prefix_of_the_base_url_is_kept(tail):
    server = PlainServer(prefix="/automation/eu")
    try:
        ask(server.url + tail, poll)
        assert server.violations == []
        assert server.of("poll")
    finally:
        server.close()


@pytest.mark.parametrize("location", ["https://elsewhere.example/", "/api/v1/internal/agents/jobs/"])
def test_redirects_are_never_followed(plain_server, location):
    plain_server.fail("poll", Status(307, {"Location": location}))
    with pytest.raises(Refused, match="AGENT_API_URL"):
        ask(plain_server.url, poll)
    assert len(plain_server.seen) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(401), Unauthorized),
        (Status(403), Unauthorized),
        (too_many_requests("3600"), RateLimited),
        (Status(404), Refused),
        (Status(503), Unreachable),
        (Cut("before"), Unreachable),
        (Cut("headers"), Unreachable),
        (Cut("body"), Unreachable),
        (Answer(b"<html>sign in</html>"), BadAnswer),
        (Answer(b"\xff\xfe"), BadAnswer),
        (Answer(b"[" * 100_000), BadAnswer),
        (Answer(b'[{"jobId":"j"}]'), BadAnswer),
        (Answer(b'{"data":{"jobId":"j"}}'), BadAnswer),
        (Answer(b""), BadAnswer),
        (Status(200, {"Content-Encoding": "gzip"}, b"not gzip"), BadAnswer),
    ],
)
def test_every_way_to_fail_is_one_of_ours(plain_server, fault, kind):
    plain_server.fail("poll", fault)
    with pytest.raises(ControlPlaneError) as caught:
        ask(plain_server.url, poll)
    assert type(caught.value) is kind
    assert len(plain_server.seen) == 1  # repeating is the loop's business


def test_a_huge_retry_after_is_capped(plain_server):
    plain_server.fail("poll", too_many_requests("86400"))
    with pytest.raises(RateLimited) as caught:
        ask(plain_server.url, poll)
    assert caught.value.retry_after == 45


def test_nobody_listens():
    with pytest.raises(Unreachable, match="AGENT_API_URL"):
        ask(f"http://127.0.0.1:{free_port()}", poll)


@pytest.mark.parametrize("body", [b'{"data":null}', b"{}", b'{"data":[]}'])
def test_no_jobs(plain_server, body):
    plain_server.fail("poll", Answer(body))
    assert ask(plain_server.url, poll) == []


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"data":[1]}', b'{"data":null}'])
def test_any_2xx_is_good_for_results_and_heartbeats(plain_server, body):
    plain_server.fail("results", Answer(body))
    plain_server.fail("heartbeat", Answer(body))
    assert ask(plain_server.url, report) is None
    assert ask(plain_server.url, lambda client: client.heartbeat(BEAT)) == {}


@pytest.mark.parametrize(
    "body", [b"<!doctype html><title>Log in</title>", b"\xef\xbb\xbf\r\n <html>", b"<?xml version='1.0'?><a/>"]
)
def test_a_page_is_no_answer_to_results_and_heartbeats(plain_server, body):
    """A captive portal says 200 to everything: it has neither heard of the agent nor taken its results."""
    plain_server.fail("results", Answer(body))
    plain_server.fail("heartbeat", Answer(body))
    with pytest.raises(BadAnswer, match="AGENT_API_URL"):
        ask(plain_server.url, report)
    with pytest.raises(BadAnswer, match="AGENT_API_URL"):
        ask(plain_server.url, lambda client: client.heartbeat(BEAT))


@pytest.mark.parametrize("body", [b"", b"ok", b"[]"])
def test_a_server_that_offers_more_answers_a_heartbeat_with_an_object(plain_server, body):
    plain_server.fail("heartbeat", Answer(body))
    extended = BEAT.model_copy(update={"components": {"redis": "ok"}})
    with pytest.raises(BadAnswer, match="JSON"):
        ask(plain_server.url, lambda client: client.heartbeat(extended))


def test_a_registration_without_an_id_is_no_registration(plain_server):
    plain_server.fail("register", Answer(b'{"data":{}}'), Answer(b'{"data":null}'))
    for _ in range(2):
        with pytest.raises(BadAnswer):
            ask(plain_server.url, lambda client: client.register(REGISTER))


def test_strange_extension_fields_do_not_keep_an_agent_out(plain_server):
    plain_server.fail("register", Answer(b'{"data":{"agentId":"a","features":"none","longPollSeconds":"x"}}'))
    data = ask(plain_server.url, lambda client: client.register(REGISTER))
    assert (data.agent_id, data.features) == ("a", [])


@pytest.mark.parametrize("packed", [False, True])
def test_answers_are_limited_in_size(plain_server, monkeypatch, packed):
    monkeypatch.setattr(module, "ANSWER_MAX_BYTES", 100_000)
    body = json.dumps({"data": ["x" * 100_000]}).encode()
    fault = Status(200, {"Content-Encoding": "gzip"}, gzip.compress(body)) if packed else Answer(body)
    plain_server.fail("poll", fault)
    with pytest.raises(BadAnswer, match="larger"):
        ask(plain_server.url, poll)


def test_a_peer_that_never_ends_is_left(plain_server, monkeypatch):
    monkeypatch.setattr(module, "_ANSWER_S", 0.05)
    monkeypatch.setattr(module, "_CONNECT_S", 0.05)
    plain_server.fail("results", Slow(5))
    with pytest.raises(Unreachable):
        ask(plain_server.url, report)


def test_connections_are_kept_alive(plain_server):
    ports = set()
    original = plain_server.work

    def work(request):
        ports.add(request.headers.get("connection"))
        return original(request)

    plain_server.work = work

    async def many(client):
        for _ in range(5):
            await client.poll("agt_1")

    ask(plain_server.url, many)
    assert ports == {"keep-alive"}
    assert plain_server.connections_made == 1


def test_the_breaker_is_shared_and_register_is_not_behind_it(plain_server):
    plain_server.always("poll", Status(503))

    async def run(client):
        for _ in range(9):
            with pytest.raises(Unreachable, match="503"):
                await client.poll("agt_1")
        for call in (client.poll("agt_1"), client.report([RESULT], receipts=False), client.heartbeat(BEAT)):
            with pytest.raises(Unreachable, match="in a row"):
                await call
        assert (await client.register(REGISTER)).agent_id == "agt_1"

    ask(plain_server.url, run)
    assert len(plain_server.of("poll")) == 9
    assert plain_server.of("results") == []


@pytest.mark.parametrize("key", ["with\nnewline", "schlüssel", ""])
def test_a_key_that_cannot_be_a_header_is_a_setting_to_change(key):
    with pytest.raises(ConfigurationError, match="AGENT_API_KEY"):
        ask("http://127.0.0.1:1", poll, agent_api_key=key)


def test_proxies_of_the_environment_are_honoured(plain_server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", plain_server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    ask("http://control-plane.invalid", poll)
    assert plain_server.seen[0].headers["host"] == "control-plane.invalid"


def test_an_unusable_proxy_variable_is_named(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
        ask("http://127.0.0.1:1", poll)


def test_nothing_of_a_request_is_logged(plain_server, caplog):
    caplog.set_level(logging.INFO, logger="easyalert")
    plain_server.fail("results", Cut("body"))
    with pytest.raises(Unreachable) as caught:
        ask(plain_server.url, report)
    assert "jobId" not in caplog.text + str(caught.value)


@pytest.mark.parametrize("document", [float("nan"), "\ud800", {"a": object()}])
def test_encode_refuses_what_is_not_json(document):
    with pytest.raises((ValueError, TypeError)):
        encode(document)


def test_encode_is_compact_utf8():
    assert encode({"ä": [1, None]}) == '{"ä":[1,null]}'.encode()


@pytest.fixture
def authority(tmp_path):
    return throwaway_authority(tmp_path, "localhost")


@pytest.fixture
def tls_server(authority):
    server = PlainServer(tls=authority.server_context())
    server.host = "localhost"
    system_trust.cache_clear()
    yield server
    system_trust.cache_clear()
    server.close()


def test_https_trusts_what_the_machine_trusts(tls_server, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    assert ask(tls_server.url, poll) == []
    assert tls_server.violations == []


def test_https_refuses_a_certificate_nobody_vouches_for(tls_server):
    with pytest.raises(Unreachable, match="certificate"):
        ask(tls_server.url, poll)
    assert tls_server.seen == []


def test_https_refuses_another_hosts_certificate(tls_server, authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    tls_server.host = "127.0.0.1"
    with pytest.raises(Unreachable, match="certificate"):
        ask(tls_server.url, poll)
    assert tls_server.seen == []


def test_live_output_goes_to_its_job_and_failures_of_it_open_no_breaker():
    server = ExtendedServer("output")
    request = OutputRequest(agent_id="agt_1", attempt=1, chunks=[])

    async def call(client):
        server.fail("output", *[Status(500)] * 12)
        for _ in range(12):
            with pytest.raises(Unreachable):
                await client.send_output("job/1", request)
        assert client.breaker.closed
        return await client.send_output("job/1", request)

    assert ask(server.url, call).next == 0
    assert {seen.path.rsplit("/", 2)[1] for seen in server.of("output")} == {"job%2F1"}
    assert server.violations == []
    server.close()
