"""The authorisation matrix: every route of the OpenAPI against every kind of caller."""

import pytest

from controlplane.services.tokens import Scope
from easyalert.protocol import paths

pytestmark = pytest.mark.system
RANK = {"viewer": 1, "operator": 2, "admin": 3}


@pytest.fixture
def routes(service):
    found = []
    for path, operations in service.app.openapi()["paths"].items():
        for method, operation in operations.items():
            found.append((method.upper(), path.replace("{", "").replace("}", ""), operation.get("x-access")))
    return found


def test_every_route_has_a_rule(routes):
    assert len(routes) > 25
    assert {access for _, _, access in routes} == {"public", "agent", "viewer", "operator", "admin"}


def test_only_these_are_for_everybody(routes):
    public = {path for _, path, access in routes if access == "public"}
    assert public == {"/healthz", "/readyz", "/metrics", paths.HEALTH}


def test_reading_is_for_viewers_and_changing_is_not(routes):
    for method, path, access in routes:
        if path.startswith("/api/v1/") and not path.startswith(("/api/v1/internal/", "/api/v1/health/")):
            # who did what is for those who may do everything
            reader = "admin" if path == "/api/v1/audit" else "viewer"
            assert (access == reader) == (method == "GET"), path


def test_matrix(service, http, routes):
    _, key = service.agent_key()
    callers = {
        "nobody": {},
        "garbage": {"Authorization": "Bearer nonsense", paths.API_KEY_HEADER: "nonsense"},
        "basic": {"Authorization": "Basic YTpi"},
        "viewer": service.bearer(Scope.VIEWER),
        "operator": service.bearer(Scope.OPERATOR),
        "admin": service.bearer(Scope.ADMIN),
        "agent": {paths.API_KEY_HEADER: key},
        "token as key": {paths.API_KEY_HEADER: service.tokens[Scope.ADMIN]},
        "key as token": {"Authorization": f"Bearer {key}"},
    }
    for method, path, access in routes:
        for caller, headers in callers.items():
            answer = http.request(method, path, headers=headers, json={} if method != "GET" else None)
            where = f"{method} {path} by {caller}: {answer.status_code} {answer.text[:200]}"
            assert answer.status_code < 500, where
            assert answer.status_code == _refusal(access, caller) or (
                _refusal(access, caller) is None and answer.status_code not in {401, 403}
            ), where
            if answer.status_code in {401, 403}:
                assert answer.json()["success"] is False
                assert answer.json()["code"] in {"unauthorized", "forbidden"}


def _refusal(access, caller):
    if access in {"public", caller}:
        return None
    if access == "agent":
        return 401
    if caller not in RANK:
        return 401
    return None if RANK[caller] >= RANK[access] else 403
