"""The control plane as commands see it, against real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest

from cli.operators_api import TOKEN_VARIABLE, OperatorsApi
from easyalert.errors import ConfigurationError, ControlPlaneError
from tests.support.ports import free_port
from tests.support.raw_http import RawHttpServer

TOKEN = "ea_op_of-the-test"


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def answering(*documents, status=200):
    """A server that gives these answers, one after the other; its base URL and what it was asked."""
    waiting = [document if isinstance(document, bytes) else json.dumps(document).encode() for document in documents]

    async def handle(_reader, writer):
        body = waiting.pop(0)
        writer.write(
            f"HTTP/1.1 {status} Word\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )

    return RawHttpServer(handle)


def ask(server, work, token_file):
    """`work(api)` in a thread, while the server answers."""

    async def main():
        async with server.running() as port:

            def go():
                with OperatorsApi(f"http://127.0.0.1:{port}/", token_file) as api:
                    return work(api)

            return await asyncio.to_thread(go)

    return asyncio.run(main())


def test_all_pages_of_a_pool_are_read_and_the_token_is_sent(token_file):
    server = answering({"data": [{"id": "a"}], "nextCursor": "next"}, {"data": [{"id": "b"}]})
    assert ask(server, lambda api: api.agents_of("eu west"), token_file) == [{"id": "a"}, {"id": "b"}]
    assert server.requests[0].startswith("GET /api/v1/agents?poolId=eu+west&limit=500 ")
    assert "cursor=next" in server.requests[1]
    assert all(f"Authorization: Bearer {TOKEN}".lower() in request.lower() for request in server.requests)


def test_an_id_is_one_segment_of_the_path(token_file):
    server = answering({"data": {"id": "x"}})
    ask(server, lambda api: api.agent("../tokens?x"), token_file)
    assert server.requests[0].startswith("GET /api/v1/agents/..%2Ftokens%3Fx ")


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"error": "no such pool"}, 404, "the control plane says 404: no such pool"),
        (b"<html>", 200, "an answer that is not this protocol's"),
        ({"data": 1}, 302, "says 302"),
        ({"error": "\x1b[31mred" + "x" * 9000}, 422, "says 422: "),
    ],
)
def test_what_it_says_is_the_error(token_file, body, status, sentence):
    with pytest.raises(ControlPlaneError) as refusal:
        ask(answering(body, status=status), lambda api: api.send("POST", "/jobs", {}), token_file)
    assert sentence in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
    assert len(str(refusal.value)) < 600


def test_nobody_there_says_so_without_the_url(token_file):
    with (
        OperatorsApi(f"http://127.0.0.1:{free_port()}", token_file) as api,
        pytest.raises(ControlPlaneError) as refusal,
    ):
        api.agent("a")
    assert "cannot be reached: ConnectError" in str(refusal.value)


def test_the_token_does_not_travel_in_clear(token_file):
    with pytest.raises(ConfigurationError, match="must be https"):
        OperatorsApi("http://plane.example", token_file)


def test_a_token_is_needed_and_may_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match="--token-file"):
        OperatorsApi("https://plane.example", None)
    monkeypatch.setenv(TOKEN_VARIABLE, "beyond-äscii")
    with pytest.raises(ConfigurationError, match="beyond ASCII") as refusal:
        OperatorsApi("https://plane.example", None)
    assert "äscii" not in str(refusal.value)
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    OperatorsApi("https://plane.example", None).__exit__(None, None, None)
