"""Alembic's environment: always online, on the database that `models.migrate` passes in."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context

from controlplane.models.columns import JsonText
from controlplane.models.engine import Database
from controlplane.models.tables import Base


def render_item(kind: str, item: Any, _autogen_context: Any) -> str | Literal[False]:
    """Revisions name database types only: they must not change when the models do."""
    return "sa.Text()" if kind == "type" and isinstance(item, JsonText) else False


def run() -> None:
    """Run the migrations in one write transaction: SQLite too takes all of it or nothing."""
    database: Database = context.config.attributes["database"]
    with database.write() as session:
        context.configure(
            connection=session.connection(),
            target_metadata=Base.metadata,
            compare_type=True,
            render_item=render_item,
            # SQLite cannot alter most things in place: tables are copied instead.
            render_as_batch=True,
        )
        context.run_migrations()


run()
