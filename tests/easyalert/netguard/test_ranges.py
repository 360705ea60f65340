"""Taking IPv4 addresses out of IPv6 ones, by the examples of the RFCs."""

from ipaddress import IPv4Address, IPv6Address

import pytest

from easyalert.netguard.ranges import METADATA_NAMES, Embedded, embedded_ipv4


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("::ffff:192.0.2.33", ["192.0.2.33"]),
        ("::ffff:0:192.0.2.33", ["192.0.2.33"]),
        ("64:ff9b::192.0.2.33", ["192.0.2.33"]),  # RFC 6052, table 3
        ("2002:c000:221::", ["192.0.2.33"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),  # RFC 4380, 5.
        ("2001:db8::5efe:192.0.2.33", ["192.0.2.33"]),
        ("64:ff9b:1:c000:2:2100::", ["0.0.0.0", "192.0.2.33", "2.33.0.0"]),
        ("2001:db8::1", []),
        ("::1", []),
        ("::", []),
    ],
)
def test_embedded(address, inside):
    assert embedded_ipv4(IPv6Address(address)).addresses == tuple(map(IPv4Address, inside))


def test_the_prefix_of_a_tunnel_with_foreign_prefix_is_judged_too():
    assert embedded_ipv4(IPv6Address("fd00::5efe:8.8.8.8")) == Embedded((IPv4Address("8.8.8.8"),), whole=False)


def test_metadata_names_are_in_the_form_they_are_compared_in():
    assert all(name == name.lower() and not name.endswith(".") for name in METADATA_NAMES)
