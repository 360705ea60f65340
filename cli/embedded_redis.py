"""The agent's own Redis: which server, its configuration, its two accounts.

It listens on a unix socket in a 0700 folder and nowhere else. Its passwords are made at each start; the configuration
holds their digests only. It holds ids of journal rows, so whatever it loses is put back from the journal.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from typing import Final

from easyalert.errors import ConfigurationError
from easyalert.files import write_atomically
from easyalert.queues import AGENT_USER, VIEWER_USER
from easyalert.settings import AgentSettings

SERVERS: Final = ("valkey-server", "redis-server")
"""In order of preference."""

AGENT_RULES: Final = "~* &* +@all -@dangerous -@admin +info +client|list +client|setname +client|id"
"""Everything RQ does; no CONFIG, FLUSHALL, SHUTDOWN, DEBUG, KEYS, ACL, MODULE, REPLICAOF."""
VIEWER_RULES: Final = "~* resetchannels -@all +@read -@dangerous +@connection -client +ping +info +select +multi +exec"
"""Every page of rq-dashboard; no write, no script, no message."""

_MEMORY_MB: Final = 64
"""10,000 waiting ids with their RQ hashes take about a third of it; beyond that the journal waits."""


def find_server(search_path: str | None = None) -> str:
    """The absolute path of the server program. Raises ConfigurationError with the command that installs one."""
    for name in SERVERS:
        found = shutil.which(name, path=search_path)
        if found:
            return str(Path(found).absolute())
    raise ConfigurationError(
        "neither valkey-server nor redis-server is installed, and REDIS_URL is not set; install one:"
        " sudo apt-get install -y --no-install-recommends redis-server"
    )


def write_configuration(settings: AgentSettings) -> Path:
    """Make both passwords and write `redis.conf` into the run folder; returns its path. Raises OSError."""
    accounts = []
    for user, rules, path in (
        (AGENT_USER, AGENT_RULES, settings.redis_password_path),
        (VIEWER_USER, VIEWER_RULES, settings.redis_viewer_password_path),
    ):
        password = secrets.token_urlsafe(32)
        write_atomically(path, password.encode())
        digest = hashlib.sha256(password.encode()).hexdigest()
        accounts.append(f"user {user} on #{digest} {rules}")
    lines = [
        "# written by easyalert-agent at each start; changes are lost",
        "port 0",
        f"unixsocket {_quoted(settings.redis_socket)}",
        "unixsocketperm 700",
        "daemonize no",
        f"dir {_quoted(settings.redis_dir)}",
        "databases 1",
        "loglevel warning",
        'save ""',
        # with `always` the server exits when its disk is full; with `everysec` it refuses writes and recovers
        "appendonly yes",
        "appendfsync everysec",
        "aof-load-truncated yes",
        f"maxmemory {_MEMORY_MB}mb",
        "maxmemory-policy noeviction",
        # nobody can log in as it; its rights are those with which Redis 7.0 replays transactions from its own file:
        # without them a restart comes up empty
        "user default off ~* &* +@all",
        *accounts,
    ]
    path = settings.run_dir / "redis.conf"
    write_atomically(path, ("\n".join(lines) + "\n").encode())
    return path


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
