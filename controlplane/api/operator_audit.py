"""Operators' routes for the audit, and for what was witnessed of the agents' own records."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api import requests
from controlplane.api.access import Router, operator_id
from controlplane.api.envelope import answer
from controlplane.api.paging import Limit, page, views
from controlplane.api.runtime import runtime_of
from controlplane.services import agents, audit, audit_heads
from controlplane.services.tokens import Scope

router = Router("/api/v1", tag="audit")
Word = Annotated[str | None, Query(max_length=64)]
HeadsLimit = Annotated[int, Query(ge=1, le=audit_heads.LIST_MAX, description="At most this many; by default all.")]
Caller = Annotated[str, Depends(operator_id)]
Place = Annotated[int | None, Query(ge=1, description="nextCursor of the page before.")]


@router.operators("GET", "/audit", Scope.ADMIN)
async def list_audit(
    request: Request, target: Word = None, action: Word = None, limit: Limit = 100, cursor: Place = None
) -> JSONResponse:
    """Who did what, newest first: all of it, or what concerns one job or agent (target), or one kind (action)."""

    def work(session: Session, _now: float) -> tuple[list[dict[str, Any]], str | None]:
        found = audit.list_rows(session, target=target, action=action, before=cursor, limit=limit + 1)
        rows, after = page(found, limit, lambda row: str(row.seq))
        return views(rows, audit.view), after

    data, after = await runtime_of(request).read(work)
    return answer(data, next_cursor=after)


@router.operators("GET", "/agents/{agent_id}/audit-heads", Scope.VIEWER)
async def list_audit_heads(
    request: Request, agent_id: str, limit: HeadsLimit = audit_heads.LIST_MAX, cursor: Place = None
) -> JSONResponse:
    """Where the agent's own record ended over time, newest first: for `easyalert-agent audit verify --witness`."""

    def work(session: Session, _now: float) -> tuple[dict[str, Any], str | None]:
        agent = agents.get(session, agent_id)
        found = audit_heads.list_heads(session, agent_id, before=cursor, limit=limit + 1)
        rows, after = page(found, limit, lambda row: str(row.id))
        told = {"agentId": agent_id, "warning": audit_heads.warning(agent), "heads": views(rows, audit_heads.view)}
        return told, after

    data, after = await runtime_of(request).read(work)
    return answer(data, next_cursor=after)


@router.operators("POST", "/agents/{agent_id}/accept-record", Scope.ADMIN)
async def accept_record(
    request: Request, agent_id: str, caller: Caller, body: requests.AcceptRecord | None = None
) -> JSONResponse:
    """End the warning about the agent's own record: somebody has looked, and it counts from here as it is."""
    note = None if body is None else body.note

    def work(session: Session, now: float) -> dict[str, Any]:
        agent = agents.get(session, agent_id)
        audit_heads.accept(session, now, agent, by=caller, note=note)
        return {"agentId": agent_id, "warning": None}

    return answer(await runtime_of(request).write(work))
