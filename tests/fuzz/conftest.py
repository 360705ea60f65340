"""Bounds of the fuzzers, and texts that parsers stumble over."""

import contextlib
import time

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

SLOW_S = 1.0

settings.register_profile("long", max_examples=5_000, deadline=None, suppress_health_check=list(HealthCheck))


def bounded(examples):
    """Settings of one fuzzer: so many examples, unless the profile `long` is chosen."""
    if settings.get_current_profile_name() == "long":
        return settings(settings.get_profile("long"))
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],  # making a failure small could take minutes; the profile does it
    )


@contextlib.contextmanager
def at_once():
    """Fails when the block takes a second of this thread's own time (other load on the machine does not count)."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < SLOW_S


ODD = st.sampled_from(
    ["", " ", "\0", "\ud800", "\u202e", "\n", "__proto__", "\ufeff", "1e999", "-0", "NaN", "%00", "💡" * 50, "a" * 5000, "[" * 3000]
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=()), max_size=30) | ODD
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**63, 0, -1, 1e308])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def nested(levels, bottom=None):
    """A list in a list in a list."""
    value = bottom
    for _ in range(levels):
        value = [value]
    return value
