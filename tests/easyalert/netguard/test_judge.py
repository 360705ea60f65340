"""The judge's verdicts: static vectors, and the rule that an embedded address is judged as the plain one."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import AddressRefused, Fault
from easyalert.netguard.judge import NetworkPolicy, judge_address

STRICT = NetworkPolicy()
PRIVATE = NetworkPolicy(allow_private=True)

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "203.0.112.255",
    "223.255.255.255",
    "168.63.129.15",
    "192.31.196.1",
    "192.175.48.6",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "2a00:1450:4001::200e",
    "2003::1",
    "2001:200::1",
    "3fff:1000::1",
    "2620:4f:8000::1",
    # public addresses in every form: an IPv6-only network reaches the public internet (defect C11)
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "::8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "2002:808:808::1",
    "2001:0:808:808:0:0:f7f7:f7f7",
    "2606:4700::5efe:8.8.8.8",
    "2606:4700::200:5efe:8.8.8.8",
]
OPENED_BY_PRIVATE = [
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "240.0.0.1",
    "::1",
    "fc00::",
    "fd12:3456::1",
    "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fec0::1",
    "feff::1",
    "2001:db8::1",
    "3fff::1",
    "3ffe::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "::ffff:127.0.0.1",
    "::ffff:10.1.2.3",
    "::ffff:0:192.168.1.1",
    "::10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:a00:0:100:808:808",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:a00:1:0:0:f7f7:f7f7",
    "2001:0:808:808:0:0:80ff:fffe",
    "2606:4700::5efe:10.0.0.1",
    "2606:4700::200:5efe:192.168.0.1",
    "2002:808:808::5efe:10.0.0.1",
]
OPENED_BY_NETWORK_ONLY = [
    "169.254.0.1",
    "169.254.169.253",
    "169.254.255.255",
    "fe80::1",
    "febf::1",
    "::ffff:169.254.1.1",
    "64:ff9b::169.254.1.1",
]
NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "100::1",
    "ff02::1",
    "ff0e::1",
    "5f00::1",
    "4000::1",
    "8000::1",
    "e000::1",
    "400::1",
    "1000::1",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "64:ff9b::0.0.0.0",
    "2002::1",
    "64:ff9b:2::8.8.8.8",
    "64:ff9b:1::",
]
METADATA = [
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.42.42", "169.254.0.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fe80::a9fe:a9fe",
    "::ffff:169.254.169.254", "::ffff:100.100.100.200", "::169.254.169.254", "64:ff9b::169.254.169.254", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe:0:0:f7f7:f7f7", "2606:4700::5efe:169.254.169.254", "::ffff:0:168.63.129.16",
]  # fmt: skip
NO_LITERAL = ["", "localhost", "127.1", "0x7f000001", "2130706433", "010.0.0.1", "0177.0.0.1", "1.2.3.4.5", "1.2.3.4 ", "\uff11\uff12\uff17.0.0.1", "fe80::1%eth0", "::1%lo", "1.2.3.4\n", "[::1]"]  # fmt: skip

EVERYTHING = NetworkPolicy(
    allow_private=True, allowed_networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
)


def refused(address, policy):
    try:
        judge_address(address, policy)
    except AddressRefused:
        return True
    return False


def test_there_are_more_than_a_hundred_vectors():
    assert len({*PUBLIC, *OPENED_BY_PRIVATE, *OPENED_BY_NETWORK_ONLY, *NEVER, *METADATA, *NO_LITERAL}) > 150


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address):
    judge_address(address, STRICT)


@pytest.mark.parametrize("address", OPENED_BY_PRIVATE)
def test_private_addresses_are_opened_by_the_setting(address):
    assert refused(address, STRICT)
    judge_address(address, PRIVATE)


@pytest.mark.parametrize("address", OPENED_BY_NETWORK_ONLY)
def test_link_local_is_opened_by_naming_the_network(address):
    assert refused(address, STRICT)
    assert refused(address, PRIVATE)
    judge_address(address, EVERYTHING)


@pytest.mark.parametrize("address", [*NEVER, *METADATA, *NO_LITERAL])
def test_what_no_setting_opens(address):
    assert refused(address, STRICT)
    assert refused(address, PRIVATE)
    assert refused(address, EVERYTHING)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_is_called_by_its_name(address):
    with pytest.raises(AddressRefused, match="metadata service"):
        judge_address(address, PRIVATE)


def test_allowed_networks_open_what_they_name_and_nothing_else():
    policy = NetworkPolicy(allowed_networks=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")))
    judge_address("10.1.2.3", policy)
    judge_address("::ffff:10.1.2.3", policy)
    judge_address("fd00:1::5", policy)
    for address in ("10.2.0.1", "192.168.1.1", "fd00:2::5", "127.0.0.1"):
        assert refused(address, policy)


def test_the_sentence_names_address_rule_and_what_opens_it():
    with pytest.raises(
        AddressRefused, match=r"10\.0\.0\.5.*private network.*10\.0\.0\.0/8.*HTTP_ALLOWED_NETWORKS"
    ) as caught:
        judge_address("10.0.0.5", STRICT)
    assert caught.value.fault is Fault.JOB
    with pytest.raises(AddressRefused, match=r"64:ff9b::a00:5.*leads to 10\.0\.0\.5"):
        judge_address("64:ff9b::10.0.0.5", STRICT)


EMBEDDINGS = {
    "mapped": lambda v4: 0xFFFF << 32 | v4,
    "translated": lambda v4: 0xFFFF << 48 | v4,
    "compatible": lambda v4: v4,
    "nat64": lambda v4: 0x64FF9B << 96 | v4,
    "local nat64": lambda v4: 0x64FF9B0001 << 80 | v4,
    "6to4": lambda v4: 0x2002 << 112 | v4 << 80 | 1,
    "teredo client": lambda v4: 0x20010000 << 96 | 0x08080808 << 64 | v4 ^ 0xFFFFFFFF,
    "teredo server": lambda v4: 0x20010000 << 96 | v4 << 64 | 0x08080808 ^ 0xFFFFFFFF,
    "isatap": lambda v4: 0x26064700 << 96 | 0x00005EFE << 32 | v4,
    "isatap, universal": lambda v4: 0x26064700 << 96 | 0x02005EFE << 32 | v4,
}
ipv4 = st.integers(0, 2**32 - 1) | st.sampled_from(
    [int(IPv4Address(a)) for a in [*PUBLIC, *OPENED_BY_PRIVATE, *NEVER, *METADATA] if "." in a and ":" not in a]
)
policies = st.builds(
    NetworkPolicy,
    allow_private=st.booleans(),
    allowed_networks=st.sampled_from(
        [(), (ipaddress.ip_network("10.0.0.0/8"),), (ipaddress.ip_network("169.254.0.0/16"),)]
    ),
)


@pytest.mark.parametrize("form", EMBEDDINGS)
@given(v4=ipv4, policy=policies)
def test_an_embedded_address_is_judged_as_the_plain_one(form, v4, policy):
    if form == "compatible" and v4 < 2:
        return  # these two are addresses of their own: unspecified and loopback
    plain, embedded = str(IPv4Address(v4)), str(IPv6Address(EMBEDDINGS[form](v4)))
    assert refused(embedded, policy) == refused(plain, policy)


@given(v4=ipv4, prefix=st.sampled_from([48, 56, 64]))
def test_no_form_of_the_local_nat64_prefix_hides_a_refused_address(v4, prefix):
    """RFC 6052, 2.2: the address follows the prefix, byte 8 is left out."""
    octets = bytearray(IPv6Address("64:ff9b:1::").packed)
    places = [at for at in range(prefix // 8, 16) if at != 8][:4]
    for at, octet in zip(places, v4.to_bytes(4, "big"), strict=True):
        octets[at] = octet
    if v4 >> 24 and refused(str(IPv4Address(v4)), STRICT):
        assert refused(str(IPv6Address(bytes(octets))), STRICT)


@given(st.integers(0, 2**128 - 1))
def test_nothing_outside_global_unicast_is_public_but_by_an_embedded_address(bits):
    address = IPv6Address(bits)
    if address not in ipaddress.ip_network("2000::/3") and address not in ipaddress.ip_network("64:ff9b::/32"):
        assert bits < 2**64 or refused(str(address), STRICT)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_public(address):
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert refused(str(address), STRICT)
