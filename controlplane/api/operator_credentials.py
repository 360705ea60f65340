"""Operators' route for credentials: delivery to vaults. Nothing of them is kept, logged or answered."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api import requests
from controlplane.api.access import Router, operator_id
from controlplane.api.envelope import answer
from controlplane.api.runtime import runtime_of
from controlplane.services import credentials
from controlplane.services.tokens import Scope

router = Router("/api/v1", tag="connections")
Caller = Annotated[str, Depends(operator_id)]
ConnectionId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,256}$")]


@router.operators("PUT", "/connections/{connection_id}/credentials", Scope.OPERATOR, status=202)
async def put_credentials(
    request: Request, connection_id: ConnectionId, body: requests.PutCredentials, caller: Caller
) -> JSONResponse:
    """Store credentials in the vault of an agent, or of every agent of a pool. Answers the jobs that do it."""
    asked = credentials.Delivery(
        connection_id=connection_id,
        created_by=caller,
        agent_id=body.agent_id,
        pool_id=body.pool_id,
        credentials=body.credentials,
        sealed=body.sealed,
    )

    def work(session: Session, now: float) -> list[dict[str, Any]]:
        return credentials.deliver(session, now, asked)

    told = await runtime_of(request).write(work)
    return answer({"connectionId": connection_id, "jobs": told}, status=202)
