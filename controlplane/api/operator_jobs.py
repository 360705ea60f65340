"""Operators' routes for jobs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api import requests
from controlplane.api.access import Router, operator_id
from controlplane.api.envelope import answer
from controlplane.api.paging import Cursor, Limit, page, views
from controlplane.api.runtime import runtime_of
from controlplane.models.tables import Job
from controlplane.services import job_view, jobs, lifecycle
from controlplane.services.tokens import Scope

router = Router("/api/v1", tag="jobs")
Caller = Annotated[str, Depends(operator_id)]
_WAIT_MAX_S = 60.0


@router.operators("POST", "/jobs", Scope.OPERATOR, status=201)
async def submit_job(request: Request, body: requests.CreateJob, caller: Caller) -> JSONResponse:
    """Queue a job. 201 with the job; 200 with the same job when its idempotencyKey is known."""
    signature = None if body.signature is None else body.signature.model_dump(by_alias=True)
    asked = jobs.NewJob(created_by=caller, signature=signature, **body.model_dump(exclude={"signature"}))

    def work(session: Session, now: float) -> tuple[dict[str, Any], bool]:
        job, new = jobs.submit(session, now, asked)
        return job_view.submitted(job), new

    view, new = await runtime_of(request).write(work)
    return answer(view, status=201 if new else 200)


@router.operators("GET", "/jobs", Scope.VIEWER)
async def list_jobs(
    request: Request,
    status: Annotated[list[str] | None, Query(description="States, repeated or separated by commas.")] = None,
    agentId: str | None = None,  # noqa: N803 - wire name
    poolId: str | None = None,  # noqa: N803 - wire name
    actionType: str | None = None,  # noqa: N803 - wire name
    q: Annotated[str | None, Query(max_length=256, description="Part of an id, action or connection.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JSONResponse:
    """Jobs, newest first."""
    states = [state for item in status or () for state in item.split(",") if state]

    def work(session: Session, _now: float) -> tuple[list[dict[str, Any]], str | None]:
        found = jobs.list_jobs(
            session,
            status=states,
            agent_id=agentId,
            pool_id=poolId,
            action_type=actionType,
            text=q,
            before=cursor,
            limit=limit + 1,
        )
        rows, after = page(found, limit, lambda row: row.id)
        return views(rows, job_view.summary), after

    data, after = await runtime_of(request).read(work)
    return answer(data, next_cursor=after)


@router.operators("GET", "/jobs/{job_id}", Scope.VIEWER)
async def get_job(
    request: Request,
    job_id: str,
    wait: Annotated[
        float, Query(ge=0, description="Answer when the job is final, at the latest after this many seconds.")
    ] = 0,
) -> JSONResponse:
    """One job: state, attempts, result, the time of every step, and why it waits or why that agent got it."""
    runtime = runtime_of(request)

    def work(session: Session, now: float) -> dict[str, Any]:
        return job_view.detail(session, jobs.get(session, job_id), now)

    if not wait:
        return answer(await runtime.read(work))
    with runtime.watch.watching(job_id) as final:
        state = await runtime.read(lambda session, _now: jobs.get(session, job_id).state)
        if state not in lifecycle.FINAL and not runtime.closing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(final.wait(), min(wait, _WAIT_MAX_S))
    return answer(await runtime.read(work))


@router.operators("POST", "/jobs/{job_id}/cancel", Scope.OPERATOR)
async def cancel_job(request: Request, job_id: str, caller: Caller) -> JSONResponse:
    """Cancel a job: 200 when it is over, 202 when the agent that has it is told to end it."""

    def work(session: Session, now: float) -> dict[str, Any]:
        return _view(session, jobs.cancel(session, now, job_id, caller), now)

    view = await runtime_of(request).write(work)
    return answer(view, status=200 if view["status"] in lifecycle.FINAL else 202)


@router.operators("POST", "/jobs/{job_id}/retry", Scope.OPERATOR)
async def retry_job(request: Request, job_id: str, caller: Caller) -> JSONResponse:
    """Queue a job that ended without success once more."""
    return answer(await runtime_of(request).write(lambda s, now: _view(s, jobs.retry(s, now, job_id, caller), now)))


@router.operators("POST", "/jobs/{job_id}/settle", Scope.OPERATOR)
async def settle_job(request: Request, job_id: str, body: requests.SettleJob, caller: Caller) -> JSONResponse:
    """Say how a job in doubt ended."""

    def work(session: Session, now: float) -> dict[str, Any]:
        return _view(session, jobs.settle(session, now, job_id, status=body.status, note=body.note, by=caller), now)

    return answer(await runtime_of(request).write(work))


def _view(session: Session, job: Job, now: float) -> dict[str, Any]:
    session.flush()
    return job_view.detail(session, job, now)
