"""Pools: they exist by use, and carry the settings of their jobs."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controlplane.clock import rfc3339
from controlplane.models.tables import Job, Pool
from controlplane.services import fleet
from controlplane.services.errors import InvalidError, NotFoundError

DEFAULT_POOL: Final = "default"
DEFAULT_MAX_QUEUE_AGE_S: Final = 86_400
"""A job stays pending until an agent returns (contract 7.2), but not for ever."""
DEFAULT_LOST_AFTER_S: Final = 600
_POOL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


def ensure_pool(session: Session, now: float, pool_id: str) -> Pool:
    """The pool, made on first use. Raises InvalidError for an impossible id."""
    pool = session.get(Pool, pool_id)
    if pool is None:
        if _POOL_ID.fullmatch(pool_id) is None:
            raise InvalidError(
                "poolId must be 1 to 128 letters, digits, '.', '_' or '-', and begin with a letter or digit"
            )
        pool = Pool(
            id=pool_id,
            created_at=now,
            max_queue_age_s=DEFAULT_MAX_QUEUE_AGE_S,
            lost_after_s=DEFAULT_LOST_AFTER_S,
        )
        session.add(pool)
        session.flush()
    return pool


def get_pool(session: Session, pool_id: str) -> Pool:
    """The pool. Raises NotFoundError."""
    pool = session.get(Pool, pool_id)
    if pool is None:
        raise NotFoundError(f"pool '{pool_id}' does not exist: create an agent in it, or PUT /api/v1/pools/{pool_id}")
    return pool


def list_pools(session: Session, *, after: str | None, limit: int) -> list[Pool]:
    """Pools by id, beginning after one."""
    query = select(Pool).order_by(Pool.id).limit(limit)
    return list(session.scalars(query if after is None else query.where(Pool.id > after)))


def view(session: Session, pool: Pool, now: float) -> dict[str, Any]:
    """A pool as operators see it: agents, capacity, waiting jobs, settings."""
    candidates = [c for _, c in fleet.pool_candidates(session, pool.id, {}, now).values()]
    able = [c for c in candidates if c.status != "offline" and c.blocked is None]
    waiting, oldest = session.execute(
        select(func.count(), func.min(Job.available_at)).where(Job.state == "pending", Job.pool_id == pool.id)
    ).one()
    return {
        "id": pool.id,
        "createdAt": rfc3339(pool.created_at),
        "agentsTotal": len(candidates),
        "agentsHealthy": sum(c.status == "online" and c.blocked is None for c in candidates),
        "capacity": sum(c.capacity for c in able),
        "free": sum(c.free for c in able),
        "waiting": int(waiting),
        "oldestWaitSeconds": None if oldest is None else round(max(0.0, now - oldest), 3),
        "settings": {"maxQueueAgeSeconds": pool.max_queue_age_s, "lostAfterSeconds": pool.lost_after_s},
    }
