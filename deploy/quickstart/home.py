"""The folder a quick start keeps everything in: `EASYALERT_HOME`, by default `~/.easyalert-up`, mode 0700.

::

    controlplane/         the control plane's data (its database)
    agent/                the agent's STATE_DIR: vault, journal, sockets
    agent.json            the agent's id, name and key, 0600
    agent.env             the agent's settings of the last start with its key, 0600
    operator-token        token of a first operator, 0600
    running.json          what is running now (see `record`), 0600
    port                  where the control plane listened last
    logs/                 controlplane.log, agent.log
    lock                  held by `scripts/up` while it works
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.quickstart.errors import NotPossibleError
from easyalert.files import write_atomically

MIN_FREE_BYTES = 512 * 1024 * 1024
"""Twice what an agent wants free before it takes jobs, so that the sample job is not the one to find out."""


@dataclass(frozen=True)
class Home:
    """Names of everything in the folder; `prepare` makes it."""

    path: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Home:
        """`EASYALERT_HOME`, or the default in the home directory."""
        chosen = environment.get("EASYALERT_HOME") or "~/.easyalert-up"
        return cls(Path(chosen).expanduser().absolute())

    @property
    def controlplane_dir(self) -> Path:
        """Data folder of the control plane."""
        return self.path / "controlplane"

    @property
    def agent_dir(self) -> Path:
        """State folder of the agent."""
        return self.path / "agent"

    @property
    def agent_env(self) -> Path:
        """The agent's settings."""
        return self.path / "agent.env"

    @property
    def agent_identity(self) -> Path:
        """The agent's id, name and key."""
        return self.path / "agent.json"

    @property
    def agents_made(self) -> Path:
        """How many agents were ever made from here."""
        return self.path / "agents-made"

    @property
    def port(self) -> Path:
        """Where the control plane listened last."""
        return self.path / "port"

    @property
    def operator_token(self) -> Path:
        """The first operator's token."""
        return self.path / "operator-token"

    @property
    def running(self) -> Path:
        """What is running now."""
        return self.path / "running.json"

    def log(self, program: str) -> Path:
        """Log file of a program."""
        return self.path / "logs" / f"{program}.log"

    def prepare(self, min_free: int = MIN_FREE_BYTES) -> None:
        """Make the folders. Raises NotPossibleError: no rights, somebody else's folder, no room."""
        try:
            for folder in (self.path, self.controlplane_dir, self.agent_dir, self.path / "logs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self.path.stat()
            free = shutil.disk_usage(self.path).free
        except OSError as error:
            raise NotPossibleError(
                f"The folder {self.path} cannot be used ({error.strerror}). "
                "Name another one: EASYALERT_HOME=/some/folder"
            ) from None
        if found.st_uid != os.geteuid():
            raise NotPossibleError(
                f"The folder {self.path} belongs to another account. Start as that account, or name another folder: "
                "EASYALERT_HOME=/some/folder"
            )
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise NotPossibleError(
                f"The folder {self.path} is not writable. Name another one: EASYALERT_HOME=/some/folder"
            )
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o700)
        if free < min_free:
            raise NotPossibleError(
                f"There is too little room at {self.path}: {free // 2**20} MiB free, {min_free // 2**20} MiB needed. "
                "Make room, or name a folder on another disk: EASYALERT_HOME=/some/folder"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `scripts/up` at a time. Raises NotPossibleError while another one works on this folder."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise NotPossibleError(
                    f"Another scripts/up is at work on {self.path}. 'scripts/down' stops it; for a second one "
                    "beside it name another folder: EASYALERT_HOME=/some/folder"
                ) from None
            yield

    def write_secret(self, path: Path, text: str) -> None:
        """Replace a 0600 file as a whole."""
        write_atomically(path, text.encode())


def environment_file(values: Mapping[str, str]) -> str:
    """`NAME=value` lines, as shells, systemd and compose read them. The values hold no spaces and no quotes."""
    return "".join(f"{name}={value}\n" for name, value in values.items())
