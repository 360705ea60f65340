"""An agent's state directory of the test's own: short path, key pair made, a real Redis where its programs look for it."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from easyalert.delivery_key import ensure_delivery_key
from easyalert.files import private_folder
from easyalert.journal import Journal
from easyalert.sealing import ensure_key_pair, load_private_key
from easyalert.settings import AgentSettings
from tests.support.processes import Program
from tests.support.redis_server import RedisServer

API_KEY = "ea_agent_of_the_tests"


class AgentHome:
    """Everything a program of the agent needs around it. `close` ends what was started through it."""

    def __init__(self, folder: Path, url: str, **settings: object) -> None:
        self.folder = folder
        self.values: dict[str, object] = {
            "agent_api_url": url,
            "agent_api_key": API_KEY,
            "agent_name": "agent-of-the-tests",
            "state_dir": str(folder),
            "poll_interval": 1,
            # scripts of tests look at their worker; what changes with the other ways has tests of its own
            "script_isolation": "none",
            **settings,
        }
        self.settings = AgentSettings(_env_file=None, **self.values)  # type: ignore[arg-type] - values of any field
        private_folder(folder)
        private_folder(self.settings.run_dir)
        private_folder(self.settings.tmp_dir)
        private_folder(self.settings.redis_dir)
        for name in (self.settings.agent_key_path.name, self.settings.delivery_key_path.name):
            shutil.copy(_key_pairs() / name, folder)
        self.redis: RedisServer | None = None
        self.programs: list[Program] = []

    @property
    def environment(self) -> dict[str, str]:
        """The settings as environment variables."""
        return {name.upper(): str(value) for name, value in self.values.items()}

    def start_redis(self) -> RedisServer:
        """The embedded Redis, on the socket the settings name."""
        self.redis = RedisServer(self.settings.redis_socket, folder=self.settings.redis_dir)
        return self.redis

    def journal(self) -> Journal:
        """A connection to the journal; close it."""
        return Journal(self.settings.journal_path)

    def start(self, package: str) -> Program:
        """Start `python -I -m <package>` on this home."""
        log = self.folder / f"{package}.log"
        program = Program(package, self.environment, log=log)
        self.programs.append(program)
        return program

    def close(self) -> None:
        """End programs, then Redis."""
        for program in self.programs:
            program.close()
        if self.redis is not None:
            self.redis.kill()


@cache
def _key_pairs() -> Path:
    """A folder with one pair of each kind for all tests of the run: deriving the key costs 0.1 s."""
    import atexit
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="ea-key-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ensure_key_pair(folder / "agent_key.json", API_KEY)
    agent_key = load_private_key(folder / "agent_key.json", [API_KEY])
    assert agent_key is not None
    ensure_delivery_key(folder / "delivery_key.json", agent_key)
    return folder
