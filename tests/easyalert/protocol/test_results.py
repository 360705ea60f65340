import datetime as dt
import enum
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.protocol.messages import ResultEnvelope
from easyalert.protocol.results import ended_without_result, json_safe


class Colour(str, enum.Enum):  # noqa: UP042 - the kind whose text is not its value
    RED = "red"


class Broken:
    def __str__(self):
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (1.5, 1.5),
        (True, True),
        (2**1000, 2**1000),
        (2**1024, "[integer of 1025 bits]"),
        ("a\ud800b", "a?b"),
        ("ü€😀", "ü€😀"),
        (b"\x00\x01", "[2 bytes]"),
        (bytearray(3), "[3 bytes]"),
        (memoryview(b"abcd"), "[4 bytes]"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ({1: "a", None: "b"}, {"1": "a", "None": "b"}),
        ({"\udfff": 1}, {"?": 1}),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (Colour.RED, "red"),
        (Broken(), "[Broken]"),
        ({Broken(): Broken()}, {"[Broken]": "[Broken]"}),
    ],
)
def test_awkward_values(value, safe):
    assert json_safe(value) == safe


def test_deep_nesting_is_cut():
    value = current = []
    for _ in range(5000):
        current.append([])
        current = current[0]
    text = json.dumps(json_safe(value))
    assert "[nested too deeply]" in text
    assert text.count("[") < 100


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**900, max_value=2**1100),
    st.floats(),
    st.text(alphabet=st.characters()),
    st.text(alphabet=st.characters(categories=["Cs"])),
    st.binary(),
    st.dates(),
    st.decimals(),
    st.complex_numbers(),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner),
        st.dictionaries(st.one_of(st.text(), st.integers(), st.none(), st.floats()), inner),
        st.tuples(inner),
    ),
)


@given(trees)
def test_every_encoder_takes_it(value):
    text = json.dumps(json_safe(value), allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode("utf-8")) == json_safe(value)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@given(json_values)
def test_what_is_safe_already_is_not_changed(value):
    assert json_safe(value) == value


def test_a_job_without_an_outcome_has_the_form_of_the_contract():
    result = ended_without_result("job_1", "in_doubt", "the worker died")
    assert result == {
        "jobId": "job_1",
        "status": "error",
        "output": None,
        "error": "in_doubt: the worker died",
        "exitCode": -1,
        "durationMs": 0,
    }
    assert ResultEnvelope.model_validate(result).wire() == result


def test_text_that_can_be_encoded_is_not_copied():
    for text in ("x" * 1000, "gr\u00fcn" * 1000):
        assert json_safe({"stdout": text})["stdout"] is text
