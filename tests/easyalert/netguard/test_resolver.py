"""One look-up, every address judged."""

import asyncio
import socket
import threading

import pytest

from easyalert.errors import AddressRefused, AgentFault, Fault, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.resolver import SystemResolver, resolve_and_judge


class Answers:
    def __init__(self, *addresses):
        self.addresses = list(addresses)
        self.asked = []

    async def lookup(self, host, port):
        self.asked.append((host, port))
        return self.addresses


def judged(host, resolver, policy=NetworkPolicy(), port=443):  # noqa: B008 - frozen
    return asyncio.run(resolve_and_judge(host, port, policy, resolver))


def test_all_addresses_come_back_in_order_after_one_look_up():
    answers = Answers("8.8.8.8", "2606:4700::1", "1.1.1.1")
    assert judged("Example.COM.", answers) == ["8.8.8.8", "2606:4700::1", "1.1.1.1"]
    assert answers.asked == [("example.com", 443)]


@pytest.mark.parametrize("bad", ["127.0.0.1", "169.254.169.254", "::1", "fe80::1%eth0", "64:ff9b::10.0.0.1", "garbage"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_refused_address_refuses_the_name(bad, place):
    addresses = ["8.8.8.8", "1.1.1.1"]
    addresses.insert(place, bad)
    with pytest.raises(AddressRefused, match=r"rebind\.example is refused"):
        judged("rebind.example", Answers(*addresses))


def test_a_literal_is_judged_without_a_look_up():
    answers = Answers()
    assert judged("8.8.8.8", answers) == ["8.8.8.8"]
    with pytest.raises(AddressRefused):
        judged("10.0.0.1", answers)
    assert answers.asked == []


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "metadata.google.internal", "a%b"])
def test_a_refused_host_is_never_looked_up(host):
    answers = Answers("8.8.8.8")
    with pytest.raises(AddressRefused):
        judged(host, answers)
    assert answers.asked == []


def test_no_address_is_the_targets_fault():
    with pytest.raises(TargetError, match="has no address"):
        judged("empty.example", Answers())


def test_an_exempt_origin_is_looked_up_but_not_judged():
    policy = NetworkPolicy(exempt_origins=frozenset({"https://proxy.example"}))
    assert judged("proxy.example", Answers("10.0.0.1"), policy) == ["10.0.0.1"]
    with pytest.raises(AddressRefused):
        judged("proxy.example", Answers("10.0.0.1"), policy, port=8443)


def test_the_system_knows_localhost():
    assert "127.0.0.1" in asyncio.run(SystemResolver().lookup("localhost", 80))


@pytest.mark.parametrize(
    ("code", "expected", "fault"),
    [
        (socket.EAI_NONAME, TargetError, Fault.TARGET),
        (socket.EAI_AGAIN, AgentFault, Fault.AGENT),
        (socket.EAI_FAIL, AgentFault, Fault.AGENT),
    ],
)
def test_whose_fault_a_failed_look_up_is(monkeypatch, code, expected, fault):
    def getaddrinfo(*_, **__):
        raise socket.gaierror(code, "as simulated")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(expected, match=r"nowhere\.example") as caught:
        judged("nowhere.example", SystemResolver())
    assert caught.value.fault is fault


class HangingDns:
    """The system's resolver while no name server answers, for some names."""

    def __init__(self, monkeypatch):
        self.go_on = threading.Event()
        self.asked = 0
        real = socket.getaddrinfo

        def getaddrinfo(host, *rest, **options):
            if host == "silent.example":
                self.asked += 1
                self.go_on.wait(60)
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return real(host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def given_up(times):
    for _ in range(times):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await SystemResolver().lookup("silent.example", 443)


def test_look_ups_that_hang_neither_use_up_a_pool_nor_hold_the_end_up(monkeypatch):
    dns = HangingDns(monkeypatch)

    async def go():
        await given_up(64)  # more than any pool of threads has
        async with asyncio.timeout(30):
            return await SystemResolver().lookup("localhost", 443)

    try:
        with asyncio.Runner() as runner:
            assert runner.run(go())
        # the runner has ended although nothing has been answered yet
        assert not dns.go_on.is_set()
    finally:
        dns.go_on.set()


def test_what_a_look_up_raises_comes_through_its_thread(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: (_ for _ in ()).throw(socket.gaierror(-3, "try again")))
    with pytest.raises(AgentFault, match="try again"):
        asyncio.run(SystemResolver().lookup("web-1.example", 443))
