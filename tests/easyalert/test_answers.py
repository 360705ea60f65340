from __future__ import annotations

import inspect
import math

import httpx
import pytest

from easyalert.answers import check_key_in_use, check_status, map_error, retry_after_seconds
from easyalert.errors import BadAnswer, ControlPlaneError, KeyInUse, RateLimited, Refused, Unauthorized, Unreachable

HTTPX_ERRORS = [value for _, value in inspect.getmembers(httpx, inspect.isclass) if issubclass(value, Exception)]
ABSTRACT = {httpx.HTTPError, httpx.RequestError, httpx.TransportError, httpx.StreamError}
NO_ANSWER = {
    *(httpx.TimeoutException, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout),
    *(httpx.NetworkError, httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.CloseError),
    *(httpx.ProxyError, httpx.RemoteProtocolError),
}
UNUSABLE = {httpx.DecodingError}
OUR_MISTAKE = {
    *(httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.ProtocolError, httpx.TooManyRedirects),
    *(httpx.InvalidURL, httpx.CookieConflict, httpx.HTTPStatusError),
    *(httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead),
}


def test_every_exception_of_httpx_has_its_place_here():
    assert set(HTTPX_ERRORS) == ABSTRACT | NO_ANSWER | UNUSABLE | OUR_MISTAKE


@pytest.mark.parametrize("kind", sorted(set(HTTPX_ERRORS), key=lambda kind: kind.__name__))
def test_every_exception_of_httpx_becomes_ours(kind):
    mapped = map_error(kind.__new__(kind))
    assert isinstance(mapped, ControlPlaneError)
    if kind in NO_ANSWER:
        assert isinstance(mapped, Unreachable)
        assert mapped.retryable
    elif kind in UNUSABLE:
        assert isinstance(mapped, BadAnswer)
    else:
        assert isinstance(mapped, Refused)


def test_errors_of_the_system_too():
    assert isinstance(map_error(ConnectionResetError(104, "reset")), Unreachable)


def test_no_url_in_the_sentence():
    error = httpx.ReadError("failed for https://host/api?token=s3cret")
    assert "s3cret" not in str(map_error(error))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        *((301, Refused), (302, Refused), (304, Refused), (308, Refused), (400, Refused), (404, Refused)),
        *((401, Unauthorized), (403, Unauthorized), (408, Unreachable), (413, Refused), (422, Refused)),
        *((429, RateLimited), (500, Unreachable), (502, Unreachable), (503, Unreachable), (599, Unreachable)),
        *((100, Refused), (600, Unreachable)),
    ],
)
def test_statuses(code, kind):
    with pytest.raises(ControlPlaneError) as caught:
        check_status(code, {})
    assert type(caught.value) is kind
    assert caught.value.status == code


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_good_statuses(code):
    check_status(code, {})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 5),
        ("7", 7),
        (" 2.5 ", 2.5),
        ("0", 0),
        ("-3", 0),
        ("3600", 45),
        ("1e300", 45),
        ("inf", 45),
        ("nan", 45),
        ("soon", 5),
        ("", 5),
        ("Thu, 01 Jan 1970 00:20:10 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 45),
        ("Thu, 99 Foo 2099 00:00:00 GMT", 5),
    ],
)
def test_retry_after_is_capped_and_never_trusted(value, seconds):
    assert retry_after_seconds(value, now=1200) == seconds


def test_whoever_has_a_limit_of_his_own_is_told_the_whole_pause():
    assert retry_after_seconds("3600", cap=math.inf) == 3600
    assert retry_after_seconds("nan", cap=math.inf) == math.inf


def test_a_key_in_use_is_told_in_the_control_planes_words():
    with pytest.raises(KeyInUse, match=r"^host 'x' holds it$") as told:
        check_key_in_use(b'{"code":"key_in_use","error":"host \'x\' holds it"}')
    assert told.value.status == 409


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"code":"agent_mismatch"}', b"[" * 100_000])
def test_no_other_conflict_is_one(body):
    check_key_in_use(body)


def test_foreign_words_are_cut_and_cleaned():
    with pytest.raises(KeyInUse) as told:
        check_key_in_use(b'{"code":"key_in_use","error":"a\\u001b[31m' + b"b" * 5000 + b'"}')
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) == 600
    with pytest.raises(KeyInUse, match="another agent uses this key"):
        check_key_in_use(b'{"code":"key_in_use","error":null}')
