import ipaddress

import httpx
from hypothesis import given
from hypothesis import strategies as st

from easyalert.errors import AddressRefused, InvalidParameter, PolicyRefused, TargetError
from easyalert.netguard.judge import NetworkPolicy, judge_address
from easyalert.netguard.naming import join_url
from easyalert.netguard.target import parse_target
from tests.fuzz.conftest import TEXTS, at_once, bounded
from workers.sdk.http_redirects import Hop, next_hop
from workers.sdk.http_request import with_query

STRICT = NetworkPolicy()
PIECES = st.sampled_from(
    ["http", "https", "://", ":", "/", "//", "\\", "@", "?", "#", "[", "]", "%", "%2f", "%00", "..", ".", "..;", "127.0.0.1", "10.0.0.5", "0x7f", "017", "2130706433", "::1",
     "::ffff:", "fe80::1%25lo", "localhost", "good.example", "xn--", "xn--a", "\uff11", "。", "\u00ad", "\u200d", "ß", "İ", "\t", "\n", " ", "443", "0", "65536", "+", "-", "_", "user:pw"]
)  # fmt: skip
urls = st.lists(PIECES | TEXTS, max_size=12).map("".join)
framed = st.builds("{}://{}{}".format, st.sampled_from(["http", "https", "HTTPS", "ftp"]), urls, urls)


@bounded(600)
@given(urls | framed)
def test_any_text_is_read_like_the_client_reads_it_or_refused(url):
    with at_once():
        try:
            target = parse_target(url, STRICT)
        except (AddressRefused, InvalidParameter):
            return
    sent = httpx.URL(target.url)
    assert sent.raw_host.decode() == target.host
    assert (sent.port or {"http": 80, "https": 443}[sent.scheme]) == target.port
    assert sent.userinfo == b""
    try:
        literal = ipaddress.ip_address(target.host)
    except ValueError:
        assert not target.host.rpartition(".")[2].isdigit()
    else:
        judge_address(str(literal), STRICT)


@bounded(400)
@given(st.sampled_from(["http", "https"]), urls, st.sampled_from([301, 302, 303, 307, 308]))
def test_any_redirect_goes_to_a_judged_place_or_nowhere(scheme, location, status):
    hop = Hop("GET", parse_target(f"{scheme}://good.example/a/b?c", STRICT), ((b"Authorization", b"secret"),), None)
    with at_once():
        try:
            following = next_hop(hop, status, location, STRICT)
        except (AddressRefused, PolicyRefused, TargetError):
            return
    parse_target(following.target.url, STRICT)
    assert following.headers == () or following.target.origin == hop.target.origin
    assert (scheme, following.target.scheme) != ("https", "http")


@bounded(300)
@given(urls, urls, st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_joining_never_leads_elsewhere_than_the_parts_say(base, url, query):
    with at_once():
        try:
            joined = with_query(join_url(base, url), query)
            parse_target(joined, STRICT)
        except (AddressRefused, InvalidParameter):
            pass


@bounded(1000)
@given(st.text(st.sampled_from("0123456789abcdefx.:%[]/ "), max_size=45) | TEXTS)
def test_any_address_is_judged_or_refused(text):
    try:
        judge_address(text, STRICT)
    except AddressRefused:
        return
    assert ipaddress.ip_address(text)
