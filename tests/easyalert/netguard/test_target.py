"""Reading URLs: spellings, parser tricks."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import AddressRefused, InvalidParameter
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.target import check_host, parse_target

STRICT = NetworkPolicy()
OPEN = NetworkPolicy(allow_private=True)


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://example.com", "https://example.com:443", "/"),
        ("HTTPS://EXAMPLE.com:443/Path?q=%20#frag", "https://example.com:443", "/Path?q=%20"),
        ("http://example.com.:8080/x", "http://example.com:8080", "/x"),
        ("http://example.com?a=1/../@b:", "http://example.com:80", "/?a=1/../@b:"),
        ("http://example.com#@10.0.0.1/", "http://example.com:80", "/"),
        ("http://8.8.8.8/", "http://8.8.8.8:80", "/"),
        ("http://[2606:4700:0:0::1]:81/", "http://[2606:4700::1]:81", "/"),
        ("http://my_host-1.internal/", "http://my_host-1.internal:80", "/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example:80", "/"),
        ("http://1password.com/", "http://1password.com:80", "/"),
        ("http://0x.example/", "http://0x.example:80", "/"),
        ("http://a/ü", "http://a:80", "/ü"),
    ],
)
def test_accepted(url, origin, path):
    target = parse_target(url, STRICT)
    assert (target.origin, target.path) == (origin, path)
    assert httpx.URL(target.url).host == target.host.replace("xn--bcher-kva", "bücher")


def test_short_origin_leaves_out_the_schemes_own_port():
    assert parse_target("https://example.com:443/", STRICT).short_origin == "https://example.com"
    assert parse_target("http://example.com:443/", STRICT).short_origin == "http://example.com:443"


@pytest.mark.parametrize(
    "host",
    [
        "127.1", "127.0.1", "0", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.0x1", "017700000001", "0177.0.0.1", "127.0.0.01", "256.0.0.1", "1.2.3.4.5",
        "127.0.0.1.", "example.1", "example.0x1", "example.0x", "1.1.1.1.1", "127.0.0.\u0661", "①②⑦.0.0.1", "\uff11\uff12\uff17.0.0.1", "127。0。0。1", "localhost。", "exa%6dple.com",
        "%31%32%37.0.0.1", "a..b", ".a", "a.", "-a", "a-", "a" * 64, ".".join(["a" * 60] * 5), "a b", "a,b", "a;b", "a*b", "a'b", "a\u200bb", "a\u00adb", "ﬁ", "\u212a.example", "\uff45vil.example",
        "metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.tencentyun.com", "instance-data",
    ],
)  # fmt: skip
def test_hosts_refused_or_harmless(host):
    """`a.` is the one spelling here that stays a plain name."""
    if host == "a.":
        assert check_host(host) == "a"
        return
    with pytest.raises(AddressRefused):
        check_host(host)
    with pytest.raises((AddressRefused, InvalidParameter)):
        parse_target(f"http://{host}/", OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "gopher://example.com", "javascript://example.com", "http:/example.com", "http:example.com",
        "http://", "http:///path", "http://:80/", "http://?q", "http://example.com:", "http://example.com:0", "http://example.com:65536", "http://example.com:80a", "http://example.com:-1",
        "http://example.com:\uff18\uff10/", "http://example.com\\@10.0.0.1/", "http://example.com/\\", "http://exa mple.com/", " http://example.com", "http://example.com/ ", "http://example.com/\n",
        "http://example.com/\r\nX: y", "http://exam\tple.com/", "http://example.com/\x00", "http://example.com/\x7f", "http://example.com/\u2028", "http://example.com/" + "a" * 20000,
        "http://[::1]x:80/", "http:\\\\example.com",
    ],
)  # fmt: skip
def test_no_url(url):
    with pytest.raises(InvalidParameter) as caught:
        parse_target(url, OPEN, parameter="baseUrl")
    assert caught.value.parameter == "baseUrl"


@pytest.mark.parametrize(
    "url",
    [
        "http://user@example.com/", "http://user:password@example.com/", "http://@example.com/", "http://example.com@10.0.0.1/", "http://example.com:80@10.0.0.1/",
        "http://[::1", "http://[]/", "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[example.com]/", "http://[127.0.0.1]/", "http://[v1.x]/", "http://[::ffff:127.1]/",
    ],
)  # fmt: skip
def test_refused_whatever_the_settings(url):
    with pytest.raises(AddressRefused):
        parse_target(url, OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://[::1]:8080/",
        "http://10.0.0.1",
        "https://[64:ff9b::10.0.0.1]/",
        "http://[::ffff:7f00:1]/",
    ],
)
def test_literals_are_judged_at_once(url):
    with pytest.raises(AddressRefused):
        parse_target(url, STRICT)
    parse_target(url, OPEN)


def test_an_exempt_origin_is_not_judged_but_its_neighbours_are():
    policy = NetworkPolicy(exempt_origins=frozenset({"http://10.0.0.1:3128", "https://10.0.0.2"}))
    parse_target("http://10.0.0.1:3128/x", policy)
    parse_target("https://10.0.0.2:443/x", policy)
    for url in ("http://10.0.0.1/", "https://10.0.0.1:3128/", "https://10.0.0.2:444/", "http://10.0.0.2/"):
        with pytest.raises(AddressRefused):
            parse_target(url, policy)


def test_the_sentence_does_not_repeat_a_password():
    with pytest.raises(AddressRefused) as caught:
        parse_target("http://user:pa55word@example.com/", STRICT)
    assert "pa55word" not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    for url in (text, f"http://{text}", f"http://{text}.example/", f"http://[{text}]/"):
        try:
            target = parse_target(url, OPEN)
        except (AddressRefused, InvalidParameter):
            continue
        again = parse_target(target.url, OPEN)
        assert again == target
        assert httpx.URL(target.url).raw_host.decode() == target.host
