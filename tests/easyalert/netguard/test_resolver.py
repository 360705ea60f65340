"""One look-up, every address judged."""

import asyncio
import socket

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
