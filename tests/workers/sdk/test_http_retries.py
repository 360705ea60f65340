"""What is tried again and when, by itself; on real sockets: tests/workers/executors/test_http_retries.py."""

from __future__ import annotations

import httpx
import pytest

from workers.sdk.http_retries import Attempts, _asked_for, retry_ranges


def test_ranges():
    assert retry_ranges("429, 5xx,no-answer") == ((429, 429), (500, 599), (0, 0))
    assert retry_ranges([503, "502-504"]) == ((503, 503), (502, 504))


@pytest.mark.parametrize("value", ["soon", "99", [True], 503.5])
def test_what_is_no_range_is_refused(value):
    with pytest.raises(ValueError, match=r"."):
        retry_ranges(value)


def test_a_date_is_read_by_the_servers_own_clock():
    headers = {"Date": "Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After": "Wed, 21 Oct 2015 07:28:07 GMT"}
    assert _asked_for(httpx.Response(503, headers=headers)) == 7


def test_pauses_grow_to_half_a_minute():
    attempts = Attempts(lambda: None)
    pauses = [attempts._backoff.next() for _ in range(12)]
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses[:5]))
    assert all(15 <= pause <= 30 for pause in pauses[5:])
