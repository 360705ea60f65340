"""Requests made up from the API's own description: no answer is a 5xx or differs from what the description says."""

import json
import time
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from admin import api
from tests.admin.conftest import KEY, TOKEN
from vault import Vault, VaultKey

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [
    ("GET", "/health"),
    ("GET", "/status"),
    ("GET", "/connections"),
    ("PUT", "/connections/{connection_id}"),
    ("DELETE", "/connections/{connection_id}"),
    ("POST", "/connections/{connection_id}/test"),
    ("POST", "/vault/rekey"),
]


def description(tmp_path):
    store = Vault(tmp_path / "described.json", VaultKey(KEY))
    return api.build(store, rekey=store.rekey, status=dict).openapi()


def test_every_operation_is_tried(tmp_path):
    described = description(tmp_path)["paths"]
    assert sorted(OPERATIONS) == sorted((m.upper(), path) for path, methods in described.items() for m in methods)


def test_the_description_is_served_to_the_tokens_holder_only(running):
    with running.stranger() as stranger:
        assert stranger.get("/openapi.json").status_code == 401
        assert stranger.get("/docs").status_code == 401
    with running.client() as client:
        assert client.get("/openapi.json").json()["openapi"].startswith("3.")
        assert client.get("/docs").status_code == 404


# any text is an id, so that only bodies can be wrong
WITH_BODY = [("PUT", "/connections/{connection_id}"), ("POST", "/vault/rekey")]


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*operation, GenerationMode.POSITIVE) for operation in OPERATIONS),
        *((*operation, GenerationMode.NEGATIVE) for operation in WITH_BODY),
    ],
)
def test_answers_are_as_described(running, tmp_path, method, path, mode):
    running.vault.put("stored", {"token": "t0ken-t0ken-t0ken"})
    operation = schemathesis.openapi.from_dict(description(tmp_path))[path][method]

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def tried(case):
        running.clock.now += 60  # the limits are tested elsewhere
        case.call_and_validate(
            base_url=running.url, headers={"Authorization": f"Bearer {TOKEN}"}, checks=CHECKS, timeout=10
        )

    tried()
    with httpx.Client(trust_env=False) as stranger:
        assert stranger.get(f"{running.url}/health").status_code == 200


TEXTS = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["newApiKey", "a", ".", "..", "%2f"]
)
BODIES = st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode())


@settings(
    max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True, database=None
)
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "X"]),
    start=st.sampled_from(["/connections/", "/vault/", "/", "/connections/a/", "//"]),
    end=st.binary(max_size=20),
    body=BODIES,
)
def test_whatever_is_sent_is_answered(running, client, method, start, end, body):
    running.clock.now += 60
    path = start + quote(end) if end.isascii() else start + "".join(f"%{byte:02x}" for byte in end)
    began = time.monotonic()
    answer = client.request(method, httpx.URL(running.url, raw_path=path.encode()), content=body)
    assert time.monotonic() - began < 30
    assert answer.status_code < 500
    if method != "HEAD":
        assert isinstance(answer.json(), dict)
