"""What an API server refuses, in words."""

import json

import pytest

from workers.sdk.kubernetes_answers import answer_error, status_error


def status(**more):
    return json.dumps(
        {"kind": "Status", "status": "Failure", "message": "no such thing", "reason": "NotFound", "code": 404, **more}
    ).encode()


def test_a_status_is_said_as_kubectl_does():
    error = answer_error(404, status(), {})
    assert str(error) == "Error from server (NotFound): no such thing"
    assert error.sentence == "no such thing (404 NotFound)"


@pytest.mark.parametrize(
    ("reason", "hint"), [("Forbidden", "RBAC"), ("Unauthorized", "new kubeconfig"), ("TooManyRequests", "later")]
)
def test_what_to_do_is_said_where_it_is_known(reason, hint):
    assert hint in answer_error(400, status(reason=reason), {}).sentence


@pytest.mark.parametrize(
    ("headers", "more", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7),
        ({"Retry-After": " 0 "}, {}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({"Retry-After": "-1"}, {}, None),
        ({"Retry-After": "9" * 400}, {}, None),
        ({}, {"details": {"retryAfterSeconds": 3}}, 3),
        ({}, {"details": {"retryAfterSeconds": "x"}}, None),
        ({}, {"details": 7}, None),
        ({}, {}, None),
    ],
)
def test_how_long_to_wait(headers, more, seconds):
    assert answer_error(429, status(**more), headers).retry_after == seconds


def test_a_conflict_of_managers_is_told_from_one_of_versions():
    causes = [{"reason": "FieldManagerConflict", "message": "x", "field": ".data.a"}]
    assert answer_error(409, status(details={"causes": causes}), {}).field_conflict
    for causes in (None, 7, [None], [{"reason": "Other"}]):
        assert not answer_error(409, status(details={"causes": causes}), {}).field_conflict


@pytest.mark.parametrize(
    ("code", "body", "sentence"),
    [
        (502, b"<html>  bad\n gateway</html>", "<html> bad gateway</html> (502 Unknown)"),
        (503, b"", "no more was said (503 ServiceUnavailable)"),
        (404, b"\xff", "\ufffd (404 NotFound)"),
        (302, b"", "the server redirects elsewhere; that is not followed (302 Redirect)"),
        (403, b"null", "null (403 Forbidden); the credential may not do that; the cluster's RBAC has to allow it"),
    ],
)
def test_an_answer_that_is_no_status_is_said_too(code, body, sentence):
    assert answer_error(code, body, {}).sentence == sentence


def test_a_status_of_a_watch_brings_its_own_code():
    assert status_error({"code": 410, "reason": "Expired", "message": "too old"}).status == 410
    assert status_error({}).status == 500
    assert len(status_error({"message": "x" * 1_000_000}).message) == 65_536
