from __future__ import annotations

import pytest

from easyalert.errors import InvalidParameter
from workers.sdk.executor import Parameters, parse
from workers.sdk.parameters import Count, Limited, Line, Text


class Some(Parameters):
    text: Text = "x"
    line: Line = "x"
    count: Count = 0


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("text", " \n", "must not be blank"),
        ("text", "a\0b", "holds a NUL character"),
        ("text", "\ud800", "unable to parse"),
        ("text", "x" * 1_048_577, "at most 1048576 characters"),
        ("text", {"a": 1}, "valid string"),
        ("line", "name\n", "holds a line break"),
        ("line", "a\r\nBcc: x", "holds a line break"),
        ("line", "a\u2028b", "holds a line break"),
        ("line", "", "must not be blank"),
        ("count", True, "must be a number"),
        ("count", -1, "greater than or equal to 0"),
        ("count", "1.5", "valid integer"),
        ("count", [1], "valid integer"),
    ],
)
def test_wrong_values_are_refused_by_name(name, value, problem):
    with pytest.raises(InvalidParameter, match=f"parameter '{name}' .*{problem}"):
        parse(Some, {name: value})


def test_usual_values_are_taken():
    some = parse(Some, {"text": "a\nb\t", "line": "ü b", "count": " 7 "})
    assert (some.text, some.line, some.count) == ("a\nb\t", "ü b", 7)


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, 30), ({"timeout": "7"}, 7), ({"timeout": 0, "timeoutSeconds": 5}, 5)]
)
def test_the_first_limit_that_is_given_counts(given, seconds):
    assert parse(Limited, given).seconds(30) == seconds


@pytest.mark.parametrize("value", [-1, "inf", "nan"])
def test_what_is_no_span_of_time_is_refused(value):
    with pytest.raises(InvalidParameter, match="'timeout' must be a positive number of seconds"):
        parse(Limited, {"timeout": value}).seconds(30)
