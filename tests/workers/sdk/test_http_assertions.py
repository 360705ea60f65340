"""Assertions decide for every status (defect A20)."""

import pytest

from easyalert.errors import InvalidParameter
from workers.sdk.executor import parse
from workers.sdk.http_assertions import Assertions
from workers.sdk.http_body import BODY_MAX_BYTES, HttpBody

BODY = '{"items": [{"name": "a.b", "n": 1, "f": 1.5, "t": true, "z": null}], "0": "zero", "o": {"k": []}}'


def problem(given, status=200, text=BODY):
    body = HttpBody(content_type="application/json")
    body.feed(text.encode())
    return parse(Assertions, given).problem(status, body)


@pytest.mark.parametrize(
    ("codes", "accepted", "refused"),
    [
        ("200,201", [200, 201], [202, 301, 404, 500]),
        ("404", [404], [200, 302]),
        (" 200 , 404 ,", [200, 404], [201]),
        ([200, "404"], [200, 404], [302]),
        (204, [204], [200]),
        ("200-299", [200, 250, 299], [199, 300]),
        ("2xx,3XX", [200, 299, 302], [404]),
        ("", [200, 302, 404, 500], []),
        ([], [200, 404], []),
        (None, [404], []),
    ],
)
def test_status_codes(codes, accepted, refused):
    assert [problem({"statusCodes": codes}, status) for status in accepted] == [None] * len(accepted)
    for status in refused:
        assert f"HTTP {status}" in problem({"statusCodes": codes}, status)


@pytest.mark.parametrize("codes", ["abc", "20", "2000", "200;201", [{}], {"a": 1}, "200-", "6xx", True])
def test_an_assertion_that_cannot_be_understood_is_an_error(codes):
    with pytest.raises(InvalidParameter, match="statusCodes"):
        parse(Assertions, {"statusCodes": codes})


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"bodyContains": '"name"'}, True),
        ({"bodyContains": "absent"}, False),
        ({"bodyContains": 1.5}, True),
        ({"bodyContains": ""}, True),
        ({"bodyNotContains": "absent"}, True),
        ({"bodyNotContains": "name"}, False),
        ({"jsonPath": "items.0.name", "jsonPathValue": "a.b"}, True),
        ({"jsonPath": "$.items.0.name", "jsonPathValue": "a.b"}, True),
        ({"jsonPath": "items.0.name", "jsonPathValue": "other"}, False),
        ({"jsonPath": "items.0.n", "jsonPathValue": "1"}, True),
        ({"jsonPath": "items.0.n", "jsonPathValue": 1}, True),
        ({"jsonPath": "items.0.f", "jsonPathValue": "1.5"}, True),
        ({"jsonPath": "items.0.t", "jsonPathValue": "true"}, True),
        ({"jsonPath": "items.0.t", "jsonPathValue": "True"}, True),
        ({"jsonPath": "items.0.t", "jsonPathValue": True}, True),
        ({"jsonPath": "items.0.t", "jsonPathValue": "false"}, False),
        ({"jsonPath": "items.0.z", "jsonPathValue": "null"}, True),
        ({"jsonPath": "0", "jsonPathValue": "zero"}, True),
        ({"jsonPath": "o", "jsonPathValue": '{"k": []}'}, True),
        ({"jsonPath": "items.1.name", "jsonPathValue": "a.b"}, False),
        ({"jsonPath": "items.-1.name", "jsonPathValue": "a.b"}, False),
        ({"jsonPath": "items.0.name.deeper", "jsonPathValue": "a.b"}, False),
        ({"jsonPath": "absent", "jsonPathValue": ""}, False),
        ({"jsonPath": "absent"}, True),  # both are needed
        ({"jsonPathValue": "x"}, True),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_bodies_for_every_status(given, holds, status):
    assert (problem(given, status) is None) is holds


def test_the_first_failure_wins():
    assert "status codes" in problem({"statusCodes": "201", "bodyContains": "absent"})
    assert "does not contain" in problem({"bodyContains": "absent", "bodyNotContains": "name"})


def test_a_body_that_is_no_json_has_no_path():
    assert "no JSON" in problem({"jsonPath": "a", "jsonPathValue": "1"}, text="<html>")


def test_what_was_not_read_decides_nothing_in_favour():
    long = "x" * (BODY_MAX_BYTES + 10) + "wanted"
    assert "longer" in problem({"bodyContains": "wanted"}, text=long)
    assert "may contain" in problem({"bodyNotContains": "bad"}, text=long)
