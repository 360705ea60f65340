"""What anybody may ask: liveness, readiness, metrics."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy.orm import Session

from controlplane.api.access import Router
from controlplane.api.envelope import answer, failure
from controlplane.api.runtime import runtime_of
from controlplane.models.migrate import at_head
from controlplane.services import overview
from easyalert.protocol import paths

router = Router(tag="operations")


@router.public("GET", "/healthz")
async def healthz() -> JSONResponse:
    """The process answers."""
    return answer({"status": "ok"})


@router.public("GET", paths.HEALTH)
async def agents_healthz() -> JSONResponse:
    """As /healthz, where agents look for it (contract 1.2)."""
    return answer({"status": "ok"})


@router.public("GET", "/readyz")
async def readyz(request: Request) -> JSONResponse:
    """The database answers and has the tables of this version."""
    runtime = runtime_of(request)
    if runtime.closing:
        return failure(503, "stopping", "the control plane is stopping")
    if not await runtime.read(lambda session, _now: at_head(session)):
        return failure(
            503, "migrations_pending", "the database has not the tables of this version: restart the control plane"
        )
    return answer({"status": "ready"})


@router.public("GET", "/metrics")
async def metrics(request: Request) -> Response:
    """Counts in Prometheus' text format."""

    def work(session: Session, now: float) -> overview.Overview:
        return overview.overview(session, now)

    counts = await runtime_of(request).read(work)
    registry = CollectorRegistry()
    by_state = Gauge("easyalert_jobs", "Jobs by state", ["state"], registry=registry)
    for state, count in counts.jobs.items():
        by_state.labels(state).set(count)
    by_status = Gauge("easyalert_agents", "Agents by status", ["status"], registry=registry)
    for status, count in counts.agents.items():
        by_status.labels(status).set(count)
    Gauge("easyalert_oldest_wait_seconds", "Age of the oldest pending job", registry=registry).set(counts.oldest_wait_s)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
