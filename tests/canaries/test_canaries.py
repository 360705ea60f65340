"""Secrets sent through everything there is are found nowhere; and what looks for them would find them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.canaries.case import case_of
from tests.canaries.flight import fly
from workers.registry import Registry

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def flight():
    # short: unix sockets live below it
    folder, hidden = (Path(tempfile.mkdtemp(prefix="ea-", dir="/tmp")) for _ in range(2))
    try:
        yield fly(folder, hidden)
    finally:
        for made in (folder, hidden):
            shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("kind", Registry(foreign={}).kinds())
def test_every_executor_has_a_canary_case(kind):
    assert callable(case_of(kind))


def test_an_executor_without_one_is_named():
    with pytest.raises(
        AssertionError, match=r"the executor 'carrier_pigeon' has no canary case.*canary_carrier_pigeon\.py"
    ):
        case_of("carrier_pigeon")


def test_no_secret_is_anywhere(flight):
    assert flight.findings == [], "\n".join(sorted({str(finding) for finding in flight.findings}))


def test_the_secrets_really_went_everywhere(flight):
    """Else nothing would be found because nothing was there."""
    for job_id, job in flight.jobs:
        ended = flight.ended[job_id]
        assert ended["status"] == job.ends, (job, ended["result"])
        if job.redacts:
            assert "[REDACTED]" in str(ended["result"]), (job, ended["result"])
    ways = {"timed out": {"timed_out"}, "cancelled": {"cancelled"}, "killed": {"in_doubt"}}
    for job_id, how in flight.hanged.items():
        assert flight.ended[job_id]["status"] in ways[how], (how, flight.ended[job_id])
    assert len(flight.secrets.made) > 30


def test_everything_was_looked_at(flight):
    names = "\n".join(flight.looked_at)
    for part in (
        "journal.sqlite3", "journal.sqlite3-wal", "controlplane.sqlite3", "vacuumed.sqlite3", "vault", "agent.log", "controlplane.log",
        "redis MONITOR", "redis SLOWLOG", "redis ACL LOG", "dump.rdb", "appendonly", "audit", "GET /api/v1/jobs/job_", "/output?format=text",
        "GET /connections", "GET /status", "commands.log", "table jobs", ", dumped",
    ):  # fmt: skip
        assert part in names, part
    commands = Counter(command.rpartition(" ")[2] for command in flight.watch.seen)
    assert {"poller", "heartbeat", "admin", "workers"} <= set(commands), commands
    assert any("vault set" in command for command in flight.watch.seen)
    assert flight.watch.looks > 20


def test_no_program_leaves_a_core_file(flight):
    assert set(flight.cored) == {"worker", "poller", "heartbeat", "admin", "control plane"}
    assert [name for name in flight.looked_at if Path(name).name.startswith("core")] == []
