"""RFC 8785: the numbers of its appendix B, and what two JSON readers could understand differently."""

import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.protocol.canonical import DEPTH_MAX, SAFE_INTEGER, NotCanonical, canonical

NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_ecmascript_writes_them(bits, text):
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.0, "1"),
        (1, "1"),
        (-1.5, "-1.5"),
        (60.0, "60"),
        (SAFE_INTEGER, "9007199254740991"),
        ("é", '"é"'),
        ('\x00\b\t\n\f\r\x1f\x7f"\\/', '"\\u0000\\b\\t\\n\\f\\r\\u001f\x7f\\"\\\\/"'),
        ([], "[]"),
        ({}, "{}"),
        ({"b": 1, "a": [1, {"d": 2, "c": None}]}, '{"a":[1,{"c":null,"d":2}],"b":1}'),
    ],
)
def test_the_one_form(value, text):
    assert canonical(value).decode() == text


def test_members_are_sorted_by_utf16_units_not_by_code_points():
    # appendix of RFC 8785: U+FB33 comes after the surrogates of U+1F600, though its code point is smaller
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\x80", "\u00f6"]
    found = list(json.loads(canonical(dict.fromkeys(names))))
    assert found == ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_composed_and_decomposed_characters_stay_two_texts():
    assert canonical("\u00e9") != canonical("e\u0301")


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        SAFE_INTEGER + 1,
        -(10**30),
        "\ud800",
        {"\udfff": 1},
        {1: 1},
        b"",
        {1, 2},
        nested(DEPTH_MAX + 1),
    ],
    ids=repr,
)
def test_what_has_no_canonical_form_is_refused_without_being_shown(value):
    with pytest.raises(NotCanonical) as caught:
        canonical(value)
    assert "\ud800" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE_INTEGER, SAFE_INTEGER) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_it_is_json_of_the_same_value_and_the_form_of_its_own_reading(value):
    text = canonical(value)
    # compared as doubles, which is what numbers are to a reader of the canonical form
    assert json.loads(text, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    again = json.loads(
        text, parse_int=lambda digits: int(digits) if abs(int(digits)) <= SAFE_INTEGER else float(digits)
    )
    assert canonical(again) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_back_as_itself(value):
    assert float(canonical(value)) == value
