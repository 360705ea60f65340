"""A real Redis (or Valkey) of the test's own, on a unix socket, without a TCP port; killed by its pid."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.support.require import require_program
from tests.support.waiting import eventually


class RedisServer:
    """Started on construction. `kill`, `start` and `flush` are the faults."""

    def __init__(self, socket_path: Path, *, folder: Path, persistent: bool = False) -> None:
        self.socket_path = socket_path
        self._program = require_program("redis-server", "valkey-server", package="redis-server")
        self._folder = folder
        self._persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """For `Redis.from_url`."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        """Of the server process."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Redis:
        """A new client; close it."""
        return Redis(unix_socket_path=str(self.socket_path), retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *(self._program, "--port", "0", "--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
                *("--save", "", "--appendonly", "yes" if self._persistent else "no", "--dir", str(self._folder)),
                *("--loglevel", "warning"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, what="redis-server answering")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server ended at once"
        with self.client() as client, contextlib.suppress(RedisError):
            return bool(client.ping())
        return False

    def kill(self) -> None:
        """SIGKILL: everything not persistent is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def flush(self) -> None:
        """What an `FLUSHALL` of somebody else does."""
        with self.client() as client:
            client.flushall()
