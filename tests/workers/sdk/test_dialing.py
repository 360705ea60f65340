from __future__ import annotations

import asyncio
import socket

import pytest

from easyalert.errors import AddressRefused, EasyAlertError, TargetError
from easyalert.netguard import resolver
from tests.support.ports import free_port
from tests.workers.sdk.test_context import context
from workers.sdk.dialing import dial
from workers.sdk.steps import Steps


def dialled(host, port, **options):
    async def main():
        steps = Steps()
        try:
            made = await dial(context(), host, port, timeout=5, steps=steps)
        except EasyAlertError as error:
            return error, steps.report()
        with made:
            return made.getpeername()[:2], steps.report()

    return asyncio.run(main())


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_this_machine_and_private_networks_are_open_to_it_and_the_steps_are_told(listening):
    peer, steps = dialled("localhost", listening)
    assert peer == ("127.0.0.1", listening)
    assert [(step["step"], step["ok"]) for step in steps] == [("name", True), ("tcp", True)]
    assert steps[1]["detail"] == f"127.0.0.1:{listening}"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "::ffff:169.254.169.254", "224.0.0.1", "0.0.0.0", "100.100.100.200"]
)
def test_metadata_and_what_is_no_destination_stay_closed(host):
    error, steps = dialled(host, 80)
    assert isinstance(error, AddressRefused)
    assert [(step["step"], step["ok"]) for step in steps] == [("name", False)]


def test_a_name_that_leads_to_metadata_is_refused_before_anything_is_dialled(monkeypatch):
    async def lookup(*_):
        return ["127.0.0.1", "169.254.169.254"]

    monkeypatch.setattr(resolver.SystemResolver, "lookup", lookup)
    error, _ = dialled("innocent.example", 80)
    assert isinstance(error, AddressRefused)


def test_the_next_address_is_tried_when_one_refuses(listening, monkeypatch):
    async def lookup(*_):
        return ["127.0.0.2", "127.0.0.1"]

    monkeypatch.setattr(resolver.SystemResolver, "lookup", lookup)
    peer, _ = dialled("two.example", listening)
    assert peer == ("127.0.0.1", listening)


def test_a_closed_port_says_where_and_why():
    port = free_port()
    error, steps = dialled("127.0.0.1", port)
    assert isinstance(error, TargetError)
    assert str(
        error
    ) == f"no connection to 127.0.0.1:{port}: Connect call failed ('127.0.0.1', {port})" or "refused" in str(error)
    assert steps[-1]["step"] == "tcp"
    assert not steps[-1]["ok"]


def test_a_silent_host_is_given_up_at_the_limit(listening, monkeypatch):
    async def never(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr("workers.sdk.dialing._connected", never)

    async def main():
        await dial(context(), "127.0.0.1", listening, timeout=0.2)

    with pytest.raises(TargetError, match=r"did not answer within 0\.2 s"):
        asyncio.run(main())
