"""A home with a running pool, and jobs put into its journal and queue the way the poller does it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from easyalert.journal import JobRow, NewJob, State
from easyalert.queues import agent_queue, enqueue
from easyalert.sealing import load_public_key, seal_info
from tests.support.agent_home import AgentHome
from tests.support.processes import Program
from tests.support.waiting import eventually

OPEN = {State.TAKEN, State.QUEUED, State.STARTED}


class Patched(Program):
    """`python -m workers` after some code of the test."""

    def __init__(self, code: str, home: AgentHome) -> None:
        main = f"{code}\nimport sys\nfrom workers.__main__ import main\nsys.exit(main())"
        self.log_path = home.folder / "workers.log"
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", main],
            env={"PATH": os.environ["PATH"], **home.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=home.folder,
        )


@dataclass
class Chain:
    """One home, one Redis, one pool."""

    home: AgentHome
    pool: Program | None = None
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def start(self) -> Program:
        self.pool = self.home.start("workers")
        return self.pool

    def start_patched(self, code: str) -> Patched:
        """A pool with other constants than the shipped ones, so that the test need not wait for them."""
        self.pool = Patched(code, self.home)
        self.home.programs.append(self.pool)
        return self.pool

    def start_below_a_launcher(self) -> Program:
        """The pool as the child of another process, which stands for supervisord; its pid is in the file `pool`."""
        program = "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-I', '-m', 'workers'])\n"
        program += (
            f"open({str(self.home.folder / 'pool')!r}, 'w').write(str(child.pid))\nchild.wait()\nraise SystemExit"
        )
        return self.start_patched(program)

    @property
    def proc(self) -> Path:
        """The pool's main thread in /proc."""
        assert self.pool is not None
        return Path(f"/proc/{self.pool.pid}/task/{self.pool.pid}")

    def take(self, action: str, params: Any, **fields: Any) -> str:
        """Into the journal; returns the key."""
        job_id = fields.pop("job_id", None) or f"job_{next(self.numbers)}"
        public = load_public_key(self.home.settings.agent_key_path)
        job = NewJob(
            job_id=job_id,
            attempt=fields.pop("attempt", None),
            action=action,
            connection_id=fields.pop("connection_id", None),
            sealed=public.seal(json.dumps(params).encode(), seal_info(job_id)),
            timeout_s=fields.pop("timeout_s", 60),
            idempotent=fields.pop("idempotent", None),
            needs_ack=False,
            lease_s=None,
            start_within_s=fields.pop("start_within_s", 900.0),
            signature=fields.pop("signature", None),
            requested_by=fields.pop("requested_by", None),
        )
        assert not fields
        with self.home.journal() as journal:
            journal.take([job])
        return job.key

    def send(self, action: str, params: Any, **fields: Any) -> str:
        """Into the journal and the queue; returns the key."""
        key = self.take(action, params, **fields)
        self.enqueue(key)
        return key

    def bash(self, script: str, **fields: Any) -> str:
        return self.send("script.bash", {"script": script}, **fields)

    def enqueue(self, *keys: str) -> None:
        assert self.home.redis is not None
        with self.home.redis.client() as client:
            enqueue(agent_queue(client), [(key, f"test {key}", 60) for key in keys])

    def row(self, key: str) -> JobRow:
        with self.home.journal() as journal:
            row = journal.get(key)
        assert row is not None
        return row

    def result(self, key: str, within: float = 30.0) -> dict[str, Any]:
        """The recorded result, once there is one."""
        row = self.until(key, lambda row: row.state not in OPEN, within=within)
        assert row.result is not None
        return row.result

    def until(self, key: str, wanted: Callable[[JobRow], bool], within: float = 30.0) -> JobRow:
        def probe() -> JobRow | None:
            row = self.row(key)
            return row if wanted(row) else None

        try:
            found = eventually(probe, within=within, what=f"{key} getting there")
        except AssertionError as error:
            raise AssertionError(f"{error}; row {self.row(key)}; log:\n{self.pool.log if self.pool else ''}") from None
        assert found is not None
        return found


def gone(pid: int) -> bool:
    """No such process, or only its zombie."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] in {"Z", "X"}
    return True


def pid_in(path: Path) -> int:
    """A pid that a script has written to a file."""
    return int(eventually(lambda: path.exists() and path.read_text().strip(), what=f"a pid in {path}"))
