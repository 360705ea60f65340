"""Which address a job or a connection names."""

import pytest

from easyalert.errors import InvalidParameter
from easyalert.netguard.naming import connection_address, join_url


@pytest.mark.parametrize(
    ("base", "url", "joined"),
    [
        ("https://a.example/", "/x", "https://a.example/x"),
        ("https://a.example", "x", "https://a.example/x"),
        ("https://a.example/v1//", "//x", "https://a.example/v1/x"),
        ("https://a.example/v1/", "", "https://a.example/v1/"),
        ("", "https://b.example", "https://b.example"),
        ("https://a.example", "http://b.example/x", "http://b.example/x"),
        ("https://a.example", "v1/things:search", "https://a.example/v1/things:search"),
        ("https://a.example", "host:8080/x", "https://a.example/host:8080/x"),
        (" https://a.example ", " x ", "https://a.example/x"),
    ],
)
def test_join_url(base, url, joined):
    assert join_url(base, url) == joined


def test_a_url_is_required():
    with pytest.raises(InvalidParameter, match="'url' is required"):
        join_url("", "  ")


@pytest.mark.parametrize(
    ("config", "address"),
    [
        ({}, ""),
        ({"baseUrl": " https://a.example/v1 ", "host": "b.example"}, "https://a.example/v1"),
        ({"url": "http://a.example"}, "http://a.example"),
        ({"baseUrl": "", "host": "a.example", "port": 8443}, "https://a.example:8443"),
        ({"host": "a.example:9", "port": 8443}, "https://a.example:9"),
        ({"host": "a.example"}, "https://a.example"),
        ({"host": "2001:db8::5", "port": 8443}, "https://[2001:db8::5]:8443"),
        ({"host": "[2001:db8::5]", "port": 8443}, "https://[2001:db8::5]:8443"),
        ({"host": "[2001:db8::5]:9", "port": 8443}, "https://[2001:db8::5]:9"),
        ({"host": "2001:db8::5"}, "https://[2001:db8::5]"),
        ({"baseUrl": 5, "host": None}, ""),
    ],
)
def test_the_address_of_a_connection(config, address):
    assert connection_address(config) == address
