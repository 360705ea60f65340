"""Operators' route for the audit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api.access import Router
from controlplane.api.envelope import answer
from controlplane.api.paging import Limit, page, views
from controlplane.api.runtime import runtime_of
from controlplane.services import audit
from controlplane.services.tokens import Scope

router = Router("/api/v1", tag="audit")
Word = Annotated[str | None, Query(max_length=64)]
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
