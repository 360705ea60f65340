"""The control plane's settings: the only reader of its environment (`EASYALERT_CP_…`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ControlPlaneSettings(BaseSettings):
    """Every setting, its meaning, its unit, and why its default is what it is.

    Options of the command line win over the environment, the environment over the defaults.
    """

    model_config = SettingsConfigDict(env_prefix="EASYALERT_CP_", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=Path("~/.easyalert-controlplane"),
        description="Folder of the database and the lock files. Mode 0700; created when missing.",
    )
    database_url: str | None = Field(
        default=None,
        description="SQLAlchemy URL of the database. Unset: `controlplane.sqlite3` in DATA_DIR.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. Loopback: plain http must not leave the machine; put a TLS proxy in front.",
    )
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severity that is logged."
    )
    long_poll_seconds: int = Field(
        default=25,
        ge=1,
        le=60,
        description="Longest wait granted to an agent's poll, seconds. Clients give up at 30 (contract 1.1).",
    )
    poll_interval_seconds: int | None = Field(
        default=None,
        ge=1,
        le=300,
        description="Seconds between the polls of idle agents without long poll, instead of their own setting.",
    )
    output_retention_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days that outputs of jobs are kept, counted from when they came in. Jobs and how they ended stay.",
    )

    @property
    def data_path(self) -> Path:
        """DATA_DIR with `~` resolved."""
        return self.data_dir.expanduser()

    @property
    def url(self) -> str:
        """The database's URL, resolved."""
        return self.database_url or f"sqlite:///{self.data_path / 'controlplane.sqlite3'}"
