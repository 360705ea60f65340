"""Where the agent keeps things: all below the state directory, sockets in a folder of their own (contract 6.3)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

_UNIX_SOCKET_PATH_MAX: Final = 90
"""Linux allows 107 bytes for a socket's path; file names in the run folder need the rest."""


class Places:
    """Derived paths; nothing is made or looked at here but the length of the socket folder's path."""

    if TYPE_CHECKING:
        state_dir: Path

    @property
    def journal_path(self) -> Path:
        """The job journal (SQLite, WAL)."""
        return self.state_dir / "journal.sqlite3"

    @property
    def agent_key_path(self) -> Path:
        """The agent's key pair for sealed parameters."""
        return self.state_dir / "agent_key.json"

    @property
    def delivery_key_path(self) -> Path:
        """The key pair that others seal to (`easyalert.delivery_key`)."""
        return self.state_dir / "delivery_key.json"

    @property
    def host_keys_path(self) -> Path:
        """SSH host keys that are pinned (`easyalert.host_keys`)."""
        return self.state_dir / "known_hosts"

    @property
    def audit_dir(self) -> Path:
        """The record of what ran here for whom (`easyalert.audit`)."""
        return self.state_dir / "audit"

    @property
    def admin_token_path(self) -> Path:
        """The generated admin token."""
        return self.state_dir / "admin_token"

    @property
    def instance_path(self) -> Path:
        """The random id of this state directory's agent."""
        return self.state_dir / "instance_id"

    @property
    def heartbeat_file(self) -> Path:
        """Touched on every heartbeat the control plane has answered; its age is the container's health."""
        return self.state_dir / ".agent_heartbeat"

    @property
    def lock_path(self) -> Path:
        """Held by `easyalert-agent run` for its lifetime: one agent per state directory."""
        return self.state_dir / "agent.lock"

    @property
    def tmp_dir(self) -> Path:
        """Script files of running jobs."""
        return self.state_dir / "tmp"

    @property
    def output_dir(self) -> Path:
        """What running jobs have printed, until the control plane has it."""
        return self.state_dir / "output"

    @property
    def redis_dir(self) -> Path:
        """Append-only file of the embedded Redis."""
        return self.state_dir / "redis"

    @property
    def run_dir(self) -> Path:
        """Sockets and generated configuration, 0700. Elsewhere only when the state directory's path is too long."""
        wanted = self.state_dir / "run"
        if len(os.fsencode(wanted)) <= _UNIX_SOCKET_PATH_MAX:
            return wanted
        digest = hashlib.sha256(os.fsencode(self.state_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"easyalert-{os.getuid()}-{digest}"

    @property
    def redis_socket(self) -> Path:
        """Unix socket of the embedded Redis."""
        return self.run_dir / "redis.sock"

    @property
    def redis_password_path(self) -> Path:
        """Password of the agent's account on the embedded Redis, made anew at each start."""
        return self.run_dir / "redis_password"

    @property
    def redis_viewer_password_path(self) -> Path:
        """Password of the read-only account (`queues.VIEWER_USER`) on the embedded Redis."""
        return self.run_dir / "redis_viewer_password"

    @property
    def supervisor_socket(self) -> Path:
        """Unix socket of supervisord's XML-RPC."""
        return self.run_dir / "supervisor.sock"

    @property
    def wakeup_socket(self) -> Path:
        """Datagram socket of the poller: one byte means "look at the journal"."""
        return self.run_dir / "poller.sock"

    @property
    def workers_socket(self) -> Path:
        """Datagram socket of the workers' bookkeeper: one byte means "some running job is to be cancelled"."""
        return self.run_dir / "workers.sock"
