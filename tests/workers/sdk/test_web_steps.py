from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest

from easyalert.errors import TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.transport import guarded_client
from tests.support.ports import free_port
from tests.support.raw_http import RawHttpServer
from tests.support.tls import throwaway_authority
from workers.sdk.steps import Steps
from workers.sdk.web_steps import WebSteps


def ask(url, *, server=None, verify=True, times=1):
    watch = WebSteps(Steps())

    async def run(url):
        async with guarded_client(
            NetworkPolicy(allow_private=True), timeout=20, verify=verify, resolver=watch
        ) as client:
            for _ in range(times):
                await client.get(url, extensions={"trace": watch.trace})

    async def main():
        if server is None:
            await run(url)
            return
        async with server.running() as port:
            await run(url.format(port=port))

    with contextlib.suppress(httpx.TransportError, TargetError):
        asyncio.run(main())
    return watch, [(step["step"], step["ok"]) for step in watch.steps.report()]


def test_each_step_of_an_exchange_is_seen(tmp_path):
    authority = throwaway_authority(tmp_path, "localhost")
    server = RawHttpServer(tls=authority.server_context())
    watch, seen = ask("https://localhost:{port}/", server=server, verify=authority.client_context())
    assert seen == [("name", True), ("tcp", True), ("tls", True)]
    assert watch.sent


def test_an_address_is_not_looked_up():
    assert ask("http://127.0.0.1:{port}/", server=RawHttpServer())[1] == [("tcp", True)]


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://no-such-name.invalid/", [("name", False)]),
        ("http://127.0.0.1:{closed}/", [("tcp", False)]),
        ("https://127.0.0.1:{port}/", [("tcp", True), ("tls", False)]),
    ],
)
def test_the_failed_step_is_the_last_and_nothing_was_sent(tmp_path, url, seen):
    server = RawHttpServer(tls=throwaway_authority(tmp_path, "localhost").server_context())
    url = url.replace("{closed}", str(free_port()))
    watch, found = ask(url, server=server if "{port}" in url else None)
    assert found == seen
    assert not watch.sent
