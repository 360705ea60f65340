"""The parts of a request, from a job's parameters."""

import base64

import pytest

from easyalert.errors import CredentialError, InvalidParameter
from workers.sdk.http_request import (
    REQUEST_BODY_MAX_BYTES,
    BodyType,
    auth_header,
    encode_body,
    header_list,
    with_query,
)


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("http://a/x", {}, "http://a/x"),
        ("http://a/x?q=1&q=2&r=3", {"q": "new"}, "http://a/x?r=3&q=new"),
        ("http://a/x?a%20b=1", {"a b": 2}, "http://a/x?a%20b=2"),
        ("http://a/x#frag", {"q": "ü&="}, "http://a/x?q=%C3%BC%26%3D#frag"),
        ("http://a/x", {"q": ["a", 1]}, "http://a/x?q=a&q=1"),
        ("http://a/x?q=1", {"q": None}, "http://a/x?q=1"),
        (
            "http://a",
            {"t": True, "n": 1.5, "o": {"k": 1}, "s": "\ud800"},
            "http://a?t=true&n=1.5&o=%7B%22k%22%3A1%7D&s=%3F",
        ),
    ],
)
def test_query(url, params, expected):
    assert with_query(url, params) == expected


@pytest.mark.parametrize(
    ("body", "kind", "data", "content_type"),
    [
        (None, "json", None, None),
        ({"a": 1}, "none", None, None),
        ({"a": "ü"}, "auto", '{"a":"ü"}'.encode(), "application/json"),
        ([1], "auto", b"[1]", "application/json"),
        ("text", "auto", b"text", None),
        (5, "auto", b"5", None),
        (True, "auto", b"true", None),
        ('{"a": 1}', "json", b'{"a":1}', "application/json"),
        ("no json", "json", b"no json", None),
        ([1, 2], "json", b"[1,2]", "application/json"),
        ({"a": "x y", "b": [1, 2], "c": None}, "form", b"a=x%20y&b=1&b=2", "application/x-www-form-urlencoded"),
        ('{"a": "1"}', "form", b"a=1", "application/x-www-form-urlencoded"),
        ("a=1&b=2", "form", b"a=1&b=2", None),
        ("raw", "raw", b"raw", "text/x"),
        ({"a": 1}, "raw", b'{"a":1}', "text/x"),
        ("\ud800", "auto", b"?", None),
    ],
)
def test_bodies(body, kind, data, content_type):
    assert encode_body(body, BodyType(kind), "text/x") == (data, content_type)


def test_the_largest_body():
    assert len(encode_body("x" * REQUEST_BODY_MAX_BYTES, BodyType.RAW, "")[0]) == REQUEST_BODY_MAX_BYTES
    with pytest.raises(InvalidParameter, match="'body' has 10485762 bytes"):
        encode_body("ü" * (REQUEST_BODY_MAX_BYTES // 2 + 1), BodyType.AUTO, "")


def test_headers():
    given = {"X-Text": " text ", "X-Number": 5, "X-Flag": True, "X-Null": None, "X-Umlaut": "ü"}
    assert header_list(given, None) == [
        (b"X-Text", b"text"),
        (b"X-Number", b"5"),
        (b"X-Flag", b"true"),
        (b"X-Umlaut", "ü".encode()),
    ]
    assert header_list({"content-type": "text/y"}, "text/x") == [(b"content-type", b"text/y")]
    assert header_list({}, "text/x") == [(b"Content-Type", b"text/x")]


@pytest.mark.parametrize(
    "name",
    ["Host", "host", " Host ", "CONNECTION", "Transfer-Encoding", "Content-Length", "Proxy-Authorization", "proxy-x", "TE", "Upgrade", "Expect", "Metadata", "Metadata-Flavor",
     "X-aws-ec2-metadata-token", "X-aws-ec2-metadata-token-ttl-seconds", "", "a b", "a:b", "a\r\nb", "a\n", "\ta", "ü"],
)  # fmt: skip
def test_headers_a_job_may_not_set(name):
    with pytest.raises(InvalidParameter) as caught:
        header_list({name: "secret-value"}, None)
    assert caught.value.parameter == f"headers.{name}".replace("\r", "?").replace("\n", "?").replace("\t", "?")
    assert "secret-value" not in str(caught.value)


def test_a_header_without_end_is_not_repeated():
    with pytest.raises(InvalidParameter) as caught:
        header_list({"n" * 2_000_000 + "\n": "x"}, None)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\n", "\na", "a\x00", {"a": 1}, ["a"]])
def test_header_values_smuggle_nothing(value):
    with pytest.raises(InvalidParameter, match=r"headers\.X-A"):
        header_list({"X-A": value}, None)


@pytest.mark.parametrize(
    ("credential", "header"),
    [
        ({"token": "t0ken"}, (b"Authorization", b"Bearer t0ken")),
        ({"authType": "bearer", "token": " t0ken\n"}, (b"Authorization", b"Bearer t0ken")),
        (
            {"authType": "basic", "username": "ü", "password": "p:w"},
            (b"Authorization", b"Basic " + base64.b64encode("ü:p:w".encode())),
        ),
        ({"username": "u", "password": "p"}, (b"Authorization", b"Basic dTpw")),
        ({"authType": "apiKey", "apiKey": "k"}, (b"X-API-Key", b"k")),
        ({"authType": "api_key", "apiKey": "k", "headerName": "X-Mine"}, (b"X-Mine", b"k")),
        ({"authType": "none", "token": "t"}, None),
        ({"baseUrl": "https://a.example"}, None),
        ({}, None),
    ],
)
def test_auth_header(credential, header):
    assert auth_header(credential, "conn-1") == header


@pytest.mark.parametrize(
    "credential",
    [
        {"authType": "bearer"},
        {"authType": "bearer", "token": ""},
        {"authType": "basic"},
        {"authType": "apiKey"},
        {"authType": "kerberos", "token": "s3cr3t-s3cr3t"},
        {"token": "s3cr3t-s3cr3t\r\nX-Other: 1"},
        {"token": "s3cr3t-s3cr3tü"},
        {"authType": "apiKey", "apiKey": "s3cr3t-s3cr3t", "headerName": "Host"},
        {"authType": "apiKey", "apiKey": "s3cr3t-s3cr3t", "headerName": "a b"},
    ],
)
def test_unusable_entries_name_the_connection_and_show_no_value(credential):
    with pytest.raises(CredentialError, match="conn-1") as caught:
        auth_header(credential, "conn-1")
    assert "s3cr3t" not in str(caught.value)
