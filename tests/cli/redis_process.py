"""The embedded Redis as supervisord starts it, without supervisord."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

from redis import Redis
from redis.exceptions import RedisError

from cli import embedded_redis
from cli.folders import prepare_folders
from easyalert.queues import connect
from easyalert.settings import AgentSettings
from tests.support.require import require_program
from tests.support.waiting import eventually


class EmbeddedRedis:
    """Its configuration is written anew at construction, as at each start of the agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.server = require_program("redis-server", "valkey-server", package="redis-server")
        prepare_folders(settings)
        embedded_redis.write_configuration(settings)
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "cli.redis_server"],
            env={
                **os.environ,
                "AGENT_API_KEY": "ea_agent_secret",
                "EASYALERT_RUN_DIR": str(self.settings.run_dir),
                "EASYALERT_REDIS_DIR": str(self.settings.redis_dir),
                "EASYALERT_REDIS_SERVER": self.server,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self.process

    def start(self) -> EmbeddedRedis:
        self.launch()
        eventually(self.answers, what="the embedded Redis answering")
        return self

    def answers(self) -> bool:
        with self.client() as client, contextlib.suppress(RedisError):
            return bool(client.ping())
        return False

    def client(self) -> Redis:
        """As the agent's programs see it."""
        return connect(self.settings, glance=True)

    def viewer(self) -> Redis:
        password = self.settings.redis_viewer_password_path.read_text()
        return Redis(unix_socket_path=str(self.settings.redis_socket), username="viewer", password=password)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
