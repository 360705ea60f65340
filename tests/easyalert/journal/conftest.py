import itertools
from pathlib import Path

import pytest

from easyalert.journal import Journal, NewJob
from easyalert.runtime import ProcessIdentity

WORKER = ProcessIdentity("boot-1", 4711, 100)
OTHER_WORKER = ProcessIdentity("boot-1", 4712, 200)


class Machine:
    """A host whose clocks and boots the test drives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall = 1_800_000_000.0
        self.monotonic_ms = 5_000_000
        self.boot = "boot-1"
        self._open: list[Journal] = []
        self._numbers = itertools.count(1)

    def journal(self) -> Journal:
        journal = Journal(
            self.path, wall_clock=lambda: self.wall, monotonic=lambda: self.monotonic_ms, boot=lambda: self.boot
        )
        self._open.append(journal)
        return journal

    def pass_time(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic_ms += int(seconds * 1000)

    def reboot(self, *, wall_step: float = 60.0) -> Journal:
        self.close()
        self.boot = f"boot-{next(self._numbers) + 1}"
        self.monotonic_ms = 1_000
        self.wall += wall_step
        return self.journal()

    def close(self) -> None:
        for journal in self._open:
            journal.close()
        self._open.clear()


def new_job(job_id: str = "job_1", **changes) -> NewJob:
    fields = {
        "job_id": job_id,
        "attempt": None,
        "action": "script.bash",
        "connection_id": None,
        "sealed": b"sealed-parameters",
        "timeout_s": 300,
        "idempotent": None,
        "needs_ack": False,
        "lease_s": None,
        "start_within_s": 900.0,
    }
    return NewJob(**{**fields, **changes})


def envelope(job_id: str = "job_1", status: str = "success") -> dict:
    return {
        "jobId": job_id,
        "status": status,
        "output": {"stdout": "up 3 days\n"},
        "error": None if status == "success" else "failed",
        "exitCode": 0 if status == "success" else 1,
        "durationMs": 412,
    }


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path / "journal.sqlite3")
    yield machine
    machine.close()


@pytest.fixture
def journal(machine):
    return machine.journal()
