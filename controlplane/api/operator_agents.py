"""Operators' routes for agents and pools."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from controlplane.api import requests
from controlplane.api.access import Router
from controlplane.api.envelope import answer
from controlplane.api.paging import Cursor, Limit, page, views
from controlplane.api.runtime import Runtime, runtime_of
from controlplane.models.tables import Agent
from controlplane.services import agents, fleet, keys, pools
from controlplane.services.tokens import Scope

logger = logging.getLogger("easyalert.controlplane.operators")
router = Router("/api/v1", tag="agents and pools")


@router.operators("POST", "/agents", Scope.ADMIN, status=201)
async def create_agent(request: Request, body: requests.CreateAgent) -> JSONResponse:
    """Create an agent. `data.apiKey` is in this answer only."""
    runtime = runtime_of(request)
    key, hashed = await _fresh_key(runtime)

    def work(session: Session, now: float) -> dict[str, Any]:
        agent = agents.create(
            session,
            now,
            name=body.name,
            key=key,
            key_hash=hashed,
            description=body.description,
            pool_id=body.pool_id,
            tags=body.tags,
        )
        return _view(session, agent, now)

    view = await runtime.write(work)
    return answer({**view, "apiKey": key}, status=201)


@router.operators("GET", "/agents", Scope.VIEWER)
async def list_agents(
    request: Request,
    poolId: str | None = None,  # noqa: N803 - wire name
    limit: Limit = 100,
    cursor: Cursor = None,
) -> JSONResponse:
    """Agents, oldest first."""

    def work(session: Session, now: float) -> tuple[list[dict[str, Any]], str | None]:
        rows, after = page(
            agents.list_agents(session, pool_id=poolId, after=cursor, limit=limit + 1), limit, lambda row: row.id
        )
        known = fleet.figures(session, (row.id for row in rows), now)
        return views(rows, lambda row: agents.view(row, known[row.id], now)), after

    data, after = await runtime_of(request).read(work)
    return answer(data, next_cursor=after)


@router.operators("GET", "/agents/{agent_id}", Scope.VIEWER)
async def get_agent(request: Request, agent_id: str) -> JSONResponse:
    """One agent: status, score with its terms, load, figures."""
    return answer(await runtime_of(request).read(lambda s, now: _view(s, agents.get(s, agent_id), now)))


@router.operators("PATCH", "/agents/{agent_id}", Scope.ADMIN)
async def change_agent(request: Request, agent_id: str, body: requests.ChangeAgent) -> JSONResponse:
    """Set name, description, poolId, tags: those that are given."""
    values = body.model_dump(exclude_unset=True)
    return answer(
        await runtime_of(request).write(lambda s, now: _view(s, agents.change(s, now, agent_id, values), now))
    )


@router.operators("DELETE", "/agents/{agent_id}", Scope.ADMIN)
async def delete_agent(request: Request, agent_id: str) -> JSONResponse:
    """Delete an agent for good. Answers what became of its jobs."""
    return answer({"jobs": await runtime_of(request).write(lambda s, now: agents.remove(s, now, agent_id))})


@router.operators("POST", "/agents/{agent_id}/regenerate-key", Scope.ADMIN)
async def regenerate_key(request: Request, agent_id: str, body: requests.RegenerateKey | None = None) -> JSONResponse:
    """Make a new key, shown once. The old one dies at once, or after `overlapSeconds`."""
    runtime = runtime_of(request)
    overlap = body.overlap_seconds if body is not None else 0
    await runtime.read(lambda s, _now: agents.get(s, agent_id))
    key, hashed = await _fresh_key(runtime)

    def work(session: Session, now: float) -> dict[str, Any]:
        agent = agents.replace_key(session, now, agent_id, key=key, key_hash=hashed, overlap_s=overlap)
        return {"id": agent.id, "apiKey": key, "overlapSeconds": overlap}

    return answer(await runtime.write(work))


@router.operators("POST", "/agents/{agent_id}/enable", Scope.OPERATOR)
async def enable_agent(request: Request, agent_id: str) -> JSONResponse:
    """End disabling and draining."""
    return answer(await runtime_of(request).write(lambda s, now: _view(s, agents.enable(s, agent_id), now)))


@router.operators("POST", "/agents/{agent_id}/disable", Scope.OPERATOR)
async def disable_agent(request: Request, agent_id: str, body: requests.BlockAgent | None = None) -> JSONResponse:
    """Give the agent no new jobs; what it has goes on."""
    return await _block(request, agent_id, "disabled", body)


@router.operators("POST", "/agents/{agent_id}/drain", Scope.OPERATOR)
async def drain_agent(request: Request, agent_id: str, body: requests.BlockAgent | None = None) -> JSONResponse:
    """As disable, said of an agent that is about to be stopped."""
    return await _block(request, agent_id, "draining", body)


@router.operators("GET", "/pools", Scope.VIEWER)
async def list_pools(request: Request, limit: Limit = 100, cursor: Cursor = None) -> JSONResponse:
    """Pools by id."""

    def work(session: Session, now: float) -> tuple[list[dict[str, Any]], str | None]:
        rows, after = page(pools.list_pools(session, after=cursor, limit=limit + 1), limit, lambda row: row.id)
        return views(rows, lambda row: pools.view(session, row, now)), after

    data, after = await runtime_of(request).read(work)
    return answer(data, next_cursor=after)


@router.operators("GET", "/pools/{pool_id}", Scope.VIEWER)
async def get_pool(request: Request, pool_id: str) -> JSONResponse:
    """One pool: healthy of total, capacity, waiting, oldest wait, settings."""
    return answer(await runtime_of(request).read(lambda s, now: pools.view(s, pools.get_pool(s, pool_id), now)))


@router.operators("PUT", "/pools/{pool_id}", Scope.ADMIN)
async def put_pool(request: Request, pool_id: str, body: requests.PoolSettings) -> JSONResponse:
    """Make the pool or set its settings; what is left out gets its default."""

    def work(session: Session, now: float) -> dict[str, Any]:
        pool = pools.ensure_pool(session, now, pool_id)
        pool.max_queue_age_s = body.max_queue_age_seconds
        pool.lost_after_s = body.lost_after_seconds
        return pools.view(session, pool, now)

    return answer(await runtime_of(request).write(work))


async def _block(request: Request, agent_id: str, how: str, body: requests.BlockAgent | None) -> JSONResponse:
    said = body or requests.BlockAgent()

    def work(session: Session, now: float) -> dict[str, Any]:
        agent = agents.block(session, agent_id, how, reason=said.reason, until=said.until_seconds())
        return _view(session, agent, now)

    return answer(await runtime_of(request).write(work))


async def _fresh_key(runtime: Runtime) -> tuple[str, str]:
    key = keys.new_agent_key()
    return key, await runtime.slow_hash(lambda: keys.hash_key(key))


def _view(session: Session, agent: Agent, now: float) -> dict[str, Any]:
    session.flush()
    return agents.view(agent, fleet.figures(session, [agent.id], now)[agent.id], now)
