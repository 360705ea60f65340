"""Bringing a database to the tables of this version, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

from controlplane.models.engine import Database

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


def alembic_config(database: Database) -> Config:
    """Alembic's configuration, without an ini file: the scripts travel in the package."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["database"] = database
    return config


def migrate(database: Database) -> None:
    """Upgrade to the newest revision.

    A second process that starts meanwhile waits; a kill leaves the old tables or the new ones, nothing between.
    """
    with _one_at_a_time(database):
        command.upgrade(alembic_config(database), "head")


def at_head(session: Session) -> bool:
    """Whether the database has exactly the tables of this version."""
    current = MigrationContext.configure(session.connection()).get_current_heads()
    return set(current) == set(_heads())


def _heads() -> tuple[str, ...]:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return tuple(ScriptDirectory.from_config(config).get_heads())


@contextlib.contextmanager
def _one_at_a_time(database: Database) -> Iterator[None]:
    if database.file is None:
        yield
        return
    with database.file.with_suffix(".migrate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
