"""The delivery protocol keeps its promises whatever goes wrong, and every wrong variant of it is caught."""

from __future__ import annotations

import gc

import pytest

from tests.model.checker import check, runs_in_circles
from tests.model.rules import Rules
from tests.model.variants import WRONG


@pytest.fixture(autouse=True)
def _no_garbage_collection():
    """Hundreds of thousands of small values without cycles: looking through them again and again doubles the time."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.timeout(110)
@pytest.mark.parametrize(
    ("rules", "faults", "states"),
    [
        (Rules(), 6, 200_000),
        (Rules(idempotent=True), 3, 46_000),
        (Rules(cancels=True), 4, 80_000),
        (Rules(cancels=True, idempotent=True), 3, 60_000),
    ],
)
def test_every_promise_is_kept(rules, faults, states):
    verdict = check(rules, faults)
    assert verdict.broken is None, str(verdict)
    assert verdict.states > states, "the faults reach everything they should"


@pytest.mark.parametrize("cancels", [False, True])
@pytest.mark.parametrize("idempotent", [False, True])
def test_once_faults_stop_everything_comes_to_rest(idempotent, cancels):
    assert not runs_in_circles(Rules(idempotent=idempotent, cancels=cancels), 2)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_variant_is_caught(name):
    rules, promise = WRONG[name]
    verdict = check(rules, 3)
    assert verdict.broken == promise, str(verdict)
    assert verdict.history, "the counterexample is told step by step"
