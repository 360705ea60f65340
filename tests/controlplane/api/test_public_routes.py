import pytest
from alembic import command

from controlplane.models.migrate import alembic_config
from easyalert.protocol import paths

pytestmark = pytest.mark.system


def test_liveness_where_people_and_agents_look_for_it(http):
    assert http.get("/healthz").status_code == 200
    assert http.get(paths.HEALTH).status_code == 200


def test_readiness_means_the_tables_of_this_version(service, http):
    assert http.get("/readyz").json()["data"] == {"status": "ready"}
    command.downgrade(alembic_config(service.database), "base")
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "migrations_pending")


def test_not_ready_while_stopping(service, http):
    service.runtime.closing = True
    assert http.get("/readyz").json()["code"] == "stopping"


def test_metrics(service, http):
    service.agent()
    service.submit()
    text = http.get("/metrics").text
    assert 'easyalert_jobs{state="pending"} 1.0' in text
    assert 'easyalert_agents{status="online"} 1.0' in text
    assert "easyalert_oldest_wait_seconds 0.0" in text


def test_openapi_is_served_and_no_page_loads_foreign_scripts(http):
    assert http.get("/openapi.json").json()["info"]["title"] == "EasyAlert control plane"
    assert http.get("/docs").status_code == http.get("/redoc").status_code == 404
