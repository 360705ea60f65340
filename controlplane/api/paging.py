"""`limit` and `cursor` of lists. A cursor is the last id of a page; clients treat it as opaque."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Query

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=500, description="At most this many; nextCursor leads to the rest.")]
Cursor = Annotated[str | None, Query(max_length=128, description="nextCursor of the page before.")]


def page(rows: list[T], limit: int, key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The page out of `limit + 1` rows asked for, and the cursor of the next one."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], key(rows[limit - 1])


def views(rows: list[T], view: Callable[[T], dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row as people see it."""
    return [view(row) for row in rows]
