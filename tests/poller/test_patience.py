"""Whatever the control plane answers or does not, what waits is delivered within a minute of its return."""

from __future__ import annotations

from easyalert import answers, breaker, client
from poller import registration, reporter

PROMISE_S = 60.0
_DELIVERY_S = 10.0
"""For the requests themselves: 500 results are 25 of them."""
_SPREAD = 1.25


def test_no_pause_between_two_requests_is_longer_than_the_promise_allows():
    longest = {
        "a pause that was asked for": answers.RETRY_AFTER_CAP_S,
        "the breaker's": breaker.OPEN_SECONDS * _SPREAD,
        "that of a key that is refused": registration._REJECTED_CAP_S,
        "that of a single result": reporter._DEFER_CAP_S,
    }
    for name, seconds in longest.items():
        assert seconds <= PROMISE_S - _DELIVERY_S, name


def test_a_request_that_began_before_the_return_and_hangs_leaves_time_for_the_next():
    """Nothing tells it that the other side has come back: only its time-out does."""
    hangs = client._ANSWER_S + client._CONNECT_S
    pause = max(breaker._LEAST_S, breaker.OPEN_SECONDS * _SPREAD - hangs)
    assert hangs + pause <= PROMISE_S - _DELIVERY_S
