"""A record of the test's own, and hands that change it."""

from pathlib import Path

import pytest

from easyalert.audit import AuditLog, Entry
from easyalert.audit.log import segments
from easyalert.journal import Journal

DRIVER = Path(__file__).with_name("audit_driver.py")
ROOT = DRIVER.parents[3]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "audit"


@pytest.fixture
def log(folder):
    return AuditLog(folder, segment_bytes=2000, segments_kept=4)


def fill(log, count, first=0):
    for number in range(first, first + count):
        log.append([Entry(1_700_000_000 + number, "job.started", {"jobId": f"job_{number}"})])


def the_file(folder):
    (only,) = segments(folder)
    return only


def edit(path, change):
    lines = path.read_bytes().split(b"\n")[:-1]
    change(lines)
    path.write_bytes(b"".join(line + b"\n" for line in lines))


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        yield journal
