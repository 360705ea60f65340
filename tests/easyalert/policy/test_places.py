"""What entries of `targets` cover, and the ways to write an address that must not get around them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.policy.places import Place, Unreadable, host_place, parse_pattern, url_place


@pytest.mark.parametrize(
    ("pattern", "url", "covered"),
    [
        ("api.example.com", "https://api.example.com/x", True),
        ("api.example.com", "http://API.Example.com.:8080/", True),
        ("api.example.com", "https://api.example.com.evil.test/", False),
        ("api.example.com", "https://evil.test/api.example.com", False),
        ("*.example.com", "https://a.b.example.com/", True),
        ("*.example.com", "https://example.com/", False),
        ("*.example.com", "https://notexample.com/", False),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://ten.example.com/", False),
        ("10.0.0.5", "http://10.0.0.5:81/", True),
        ("10.0.0.5", "http://10.0.0.50/", False),
        ("2001:db8::/32", "http://[2001:db8::1]/", True),
        ("2001:db8::1", "http://[2001:0db8:0::0001]/", True),
        ("https://api.example.com", "https://api.example.com/any/thing?x=1", True),
        ("https://api.example.com", "http://api.example.com/", False),
        ("https://api.example.com", "https://api.example.com:8443/", False),
        ("https://api.example.com:8443/", "https://api.example.com:8443/", True),
        ("https://api.example.com/v1", "https://api.example.com/v1", True),
        ("https://api.example.com/v1", "https://api.example.com/v1?x=/../admin", True),
        ("https://api.example.com/v1", "https://api.example.com/v1/x", True),
        ("https://api.example.com/v1", "https://api.example.com/v10", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/x%20y", True),
        # a path that may end elsewhere than it says
        ("https://api.example.com/v1/", "https://api.example.com/v1/../admin", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/./x", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/%2e%2e/admin", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/%2E./admin", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/..%2fadmin", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/%252e%252e/admin", False),
        ("https://api.example.com/v1/", "https://api.example.com/v1/..;/admin", False),
        ("https://api.example.com/", "https://api.example.com/v1/../admin", True),
    ],
)
def test_what_a_pattern_covers(pattern, url, covered):
    assert parse_pattern(pattern).covers(url_place(url)) is covered


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com@evil.test/",
        "https://api.example.com\\@evil.test/",
        "https:/api.example.com",
        "//api.example.com/",
        "javascript://api.example.com/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://api.example.com:99999/",
        "https://api.example.com/\r\nHost: evil.test",
        "https://[::ffff:10.0.0.1%25eth0]/",
        "https:///x",
        "",
    ],
)
def test_what_readers_could_understand_differently_is_not_read(url):
    with pytest.raises(Unreadable):
        url_place(url)


@pytest.mark.parametrize("host", ["", "a b", "user@host", "127.1", "host:22", "http://x", "\uff45xample.com", "a..b"])
def test_what_is_no_host(host):
    with pytest.raises(Unreadable):
        host_place(host)


def test_hosts_by_themselves():
    assert host_place(" DB-1.Example.com. ") == Place("db-1.example.com")
    assert parse_pattern("db-1.example.com").covers(host_place("DB-1.example.com"))
    assert parse_pattern("10.0.0.0/8").covers(host_place("10.9.9.9"))
    assert not parse_pattern("https://db-1.example.com").covers(host_place("db-1.example.com")), "it says no scheme"


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("10.0.0.5/8", "host bits"),
        ("10.0.0.0/33", "no network"),
        ("example.com/v1", "with its scheme"),
        ("example.com:443", "ports go into URLs"),
        ("*", "no host"),
        ("*.", "no host"),
        ("a.*.com", "no host"),
        ("*.10.0.0.1", "no host"),
        ("ftp://example.com", "no URL"),
        ("https://*.example.com/", "no URL"),
        ("https://u:p@example.com/", "no URL"),
        ("https://example.com/?x", "leave out"),
        ("https://example.com/#x", "leave out"),
        ("https://example.com/a/../b", "leave out"),
        ("https://example.com/%2e%2e/b", "leave out"),
        ("", "no host"),
    ],
)
def test_patterns_that_say_nothing_clear_are_refused_with_what_to_write(pattern, says):
    with pytest.raises(ValueError, match=says):
        parse_pattern(pattern)


def test_a_place_is_shown_without_what_may_be_secret():
    assert str(url_place("https://api.example.com/hook/s3cret?token=s3cret")) == "https://api.example.com:443"
    assert str(url_place("http://[2001:db8::1]:8080/x")) == "http://[2001:db8::1]:8080"
    assert str(host_place("2001:db8::1")) == "[2001:db8::1]"


NAMES = st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){0,3}", fullmatch=True)


@given(NAMES, NAMES)
def test_a_name_covers_itself_and_a_wildcard_what_is_below(name, other):
    assert parse_pattern(name).covers(Place(other)) is (name == other)
    assert parse_pattern(f"*.{name}").covers(Place(other)) is other.endswith(f".{name}")


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_covers_exactly_its_addresses(address, bits):
    import ipaddress

    network = ipaddress.ip_network((0x0A000000, bits), strict=False)
    assert parse_pattern(str(network)).covers(Place(str(address))) is (address in network)
