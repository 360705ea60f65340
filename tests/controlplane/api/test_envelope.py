"""Every answer has the one shape, whatever went wrong."""

import pytest
from sqlalchemy.exc import OperationalError

from controlplane.models.engine import StorageError
from controlplane.services import jobs

pytestmark = pytest.mark.system


def test_success(http):
    assert http.get("/healthz").json() == {"success": True, "data": {"status": "ok"}}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "not_found"),
        ("GET", "/api/v1/agents/", 404, "not_found"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("GET", "/api/v1/jobs", 401, "unauthorized"),
    ],
)
def test_refusals(http, method, path, status, code):
    answer = http.request(method, path, follow_redirects=False)
    assert (answer.status_code, answer.json()["success"], answer.json()["code"]) == (status, False, code)
    assert answer.json()["error"]


def test_what_nobody_foresaw_is_a_500_and_the_connection_lives(service, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr(jobs, "list_jobs", lambda *_, **__: {}["s3cret-canary"])
        answer = service.operator.get("/api/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "s3cret" not in answer.text
    assert "unexpected error in GET /api/v1/jobs" in caplog.text
    assert service.operator.get("/api/v1/jobs").status_code == 200


def test_storage_that_fails_is_a_503_with_a_pause(service, monkeypatch):
    error = OperationalError(None, None, OSError("database or disk is full"))
    monkeypatch.setattr(jobs, "list_jobs", lambda *_, **__: (_ for _ in ()).throw(StorageError(error)))
    answer = service.operator.get("/api/v1/jobs")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert "disk is full" in answer.json()["error"]
    assert int(answer.headers["Retry-After"]) > 0


def test_no_route_redirects(service, http):
    for path in service.app.openapi()["paths"]:
        assert not http.get(path + "/", follow_redirects=False).is_redirect, path
