"""Each hop of a redirect: where it may go, and what goes with it."""

import pytest

from easyalert.errors import AddressRefused, PolicyRefused, TargetError
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import parse_target
from workers.sdk.http_redirects import Hop, next_hop

STRICT = NetworkPolicy()
HEADERS = (
    (b"Accept", b"*/*"),
    (b"User-Agent", b"easyalert-agent"),
    (b"Authorization", b"Bearer t0ken-t0ken"),
    (b"Cookie", b"session=1"),
    (b"X-API-Key", b"k3y-k3y-k3y"),
    (b"Private-Token", b"p4t-p4t-p4t"),
    (b"X-Anything", b"may be a secret"),
)


def hop(url="https://api.example/v1/things?q=1", method="GET", body=None, headers=HEADERS):
    return Hop(method, parse_target(url, STRICT), headers, body)


def url(found):
    return found.target.url


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://api.example/else", "https://api.example/else"),
        ("//api.example/else?x", "https://api.example/else?x"),
        ("/else", "https://api.example/else"),
        ("else", "https://api.example/v1/else"),
        ("../else#fragment", "https://api.example/else"),
        ("?page=2", "https://api.example/v1/things?page=2"),
        ("https://API.example.:443/", "https://api.example/"),
        ("/a:b", "https://api.example/a:b"),
        ("./a:b", "https://api.example/v1/a:b"),
        ("?a:b", "https://api.example/v1/things?a:b"),
        ("", "https://api.example/v1/things?q=1"),
    ],
)
def test_the_next_url(location, expected):
    found = next_hop(hop(), 302, location, STRICT)
    assert url(found) == expected
    assert found.headers == HEADERS, "the same origin"


@pytest.mark.parametrize(
    "location",
    [
        "https://other.example/",
        "https://sub.api.example/",
        "https://example/",
        "https://api.example:8443/",
        "//api.example:444/",
        "https://api.example.evil.example/",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_that_may_be_a_credential_goes_to_another_origin(status, location):
    found = next_hop(hop(), status, location, STRICT)
    assert found.headers == HEADERS[:2]
    back = next_hop(found, status, "https://api.example/v1/things", STRICT)
    assert back.headers == HEADERS[:2], "dropped once, dropped for good"


def test_http_to_https_is_a_change_of_origin():
    assert next_hop(hop("http://api.example/"), 301, "https://api.example/", STRICT).headers == HEADERS[:2]


@pytest.mark.parametrize("location", ["http://api.example/", "http://api.example:443/", "HTTP://other.example/"])
def test_https_to_http_is_refused(location):
    with pytest.raises(PolicyRefused, match=r"https://api\.example redirects to http://.*from https to http"):
        next_hop(hop(), 302, location, STRICT)


@pytest.mark.parametrize(
    "location",
    [
        "https://127.0.0.1/",
        "//10.0.0.5/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.5]/",
        "https://[64:ff9b::a00:5]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://metadata.google.internal/",
        "https://user:secret@api.example/",
        "https://api.example@10.0.0.5/",
        "https://\uff11\uff12\uff17.0.0.1/",
    ],
)
def test_each_hop_is_judged(location):
    with pytest.raises(AddressRefused, match=r"https://api\.example redirects elsewhere"):
        next_hop(hop(), 302, location, STRICT)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://api.example/", "file:///etc/passwd", "gopher://10.0.0.5/", "javascript:alert(1)", "data:text/html,x", "https:api.example", "https:/api.example/", "https://",
        "https:\\\\10.0.0.5/", "/\\10.0.0.5/", "\\\\10.0.0.5/", "\t//10.0.0.5/", "/\t/10.0.0.5/", "a\nb", "https://api.example:99999/", "https://api.example:x/", "http://[",
    ],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_no_url(location):
    with pytest.raises((TargetError, AddressRefused)):
        next_hop(hop(), 302, location, STRICT)


@pytest.mark.parametrize(
    ("status", "method", "expected"),
    [
        *((status, "POST", "GET") for status in (301, 302, 303)),
        *((status, "PUT", "PUT") for status in (301, 302)),
        (303, "DELETE", "GET"),
        *((status, "HEAD", "HEAD") for status in (301, 302, 303, 307, 308)),
        *((status, "POST", "POST") for status in (307, 308)),
    ],
)
def test_the_next_method(status, method, expected):
    headers = ((b"Content-Type", b"text/plain"), (b"Content-MD5", b"x"), (b"Accept", b"*/*"))
    found = next_hop(hop(method=method, body=b"body", headers=headers), status, "/else", STRICT)
    assert found.method == expected
    changed = expected != method
    assert (found.body, found.headers) == ((None, headers[2:]) if changed else (b"body", headers))


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_is_not_sent_to_another_origin(status):
    with pytest.raises(PolicyRefused, match="the body is not sent to another origin"):
        next_hop(hop(method="POST", body=b"body"), status, "https://other.example/", STRICT)


def test_the_owners_networks_open_a_hop_too():
    policy = NetworkPolicy(allow_private=True)
    assert url(next_hop(hop(), 302, "https://10.0.0.5/", policy)) == "https://10.0.0.5/"
    with pytest.raises(AddressRefused, match="metadata"):
        next_hop(hop(), 302, "https://169.254.169.254/", policy)
