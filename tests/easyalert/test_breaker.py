from __future__ import annotations

import asyncio

import pytest

from easyalert.breaker import CircuitBreaker
from easyalert.errors import BadAnswer, RateLimited, Refused, Unauthorized, Unreachable


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(threshold=3, clock=clock, spread=lambda: 0.5)


def fail(breaker, error=None):
    error = error or Unreachable("down")
    with pytest.raises(type(error)) as caught, breaker.request():
        raise error
    return caught.value


def open_it(breaker):
    for _ in range(3):
        fail(breaker)
    assert not breaker.closed


def test_stays_closed_below_the_threshold(breaker):
    fail(breaker)
    fail(breaker)
    with breaker.request():
        pass
    fail(breaker)
    fail(breaker, BadAnswer("not JSON"))
    assert breaker.closed
    assert breaker.seconds_left() == 0


def test_opens_and_refuses_without_asking(breaker):
    open_it(breaker)
    assert breaker.seconds_left() == 30
    asked = []
    with pytest.raises(Unreachable, match=r"^down \(.* after a pause\)$"), breaker.request():
        asked.append(1)
    assert asked == []


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 22.5), (1.0, 37.5)])
def test_the_pause_is_spread(clock, draw, seconds):
    breaker = CircuitBreaker(threshold=1, clock=clock, spread=lambda: draw)
    fail(breaker)
    assert breaker.seconds_left() == seconds


def test_one_probe_only_and_its_success_closes(breaker, clock):
    open_it(breaker)
    clock.now += 30
    with breaker.request():
        with pytest.raises(Unreachable, match="after a pause"), breaker.request():
            pass
        assert not breaker.closed
    assert breaker.closed
    with breaker.request(), breaker.request():
        pass


def test_a_failed_probe_opens_anew(breaker, clock):
    open_it(breaker)
    clock.now += 30
    fail(breaker)
    assert breaker.seconds_left() == 30
    clock.now += 30
    with breaker.request():
        pass
    assert breaker.closed


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit()])
def test_a_probe_that_is_abandoned_gives_its_place_back(breaker, clock, error):
    open_it(breaker)
    clock.now += 30
    with pytest.raises(type(error)), breaker.request():
        raise error
    assert not breaker.closed
    with breaker.request():  # the next one may probe at once
        pass
    assert breaker.closed


@pytest.mark.parametrize("error", [Refused("413", status=413), Unauthorized("401"), RateLimited("429", retry_after=1)])
def test_an_answer_that_refuses_is_an_answer(breaker, clock, error):
    for _ in range(5):
        fail(breaker, error)
    assert breaker.closed
    open_it(breaker)
    clock.now += 30
    fail(breaker, error)
    assert breaker.closed


def test_late_failures_do_not_prolong_the_pause(breaker, clock):
    first, second = breaker.request(), breaker.request()
    first.__enter__()
    second.__enter__()
    open_it(breaker)
    clock.now += 20
    for request in (first, second):
        error = Unreachable("late")
        assert not request.__exit__(Unreachable, error, None)
    assert breaker.seconds_left() == 10


def hang(breaker, clock, seconds):
    request = breaker.request()
    request.__enter__()
    clock.now += seconds
    assert not request.__exit__(Unreachable, Unreachable("no answer"), None)


def test_a_request_that_hung_was_a_pause_already(breaker, clock):
    """A minute is the promise for what waits: 40 s of a probe and 37.5 s of pause would not fit."""
    open_it(breaker)
    clock.now += 30
    hang(breaker, clock, 12)
    assert breaker.seconds_left() == 18
    clock.now += 18
    hang(breaker, clock, 40)
    assert breaker.seconds_left() == 5
