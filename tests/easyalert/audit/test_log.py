"""The files: whole lines or none, bounded, mended after a kill or a power cut."""

import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from easyalert.audit import AuditLog, Entry, Head, verify
from easyalert.audit.log import segments
from easyalert.audit.verify import entries
from easyalert.errors import AuditError
from tests.easyalert.audit.conftest import edit, fill, the_file

DRIVER = Path(__file__).with_name("audit_driver.py")
ROOT = DRIVER.parents[3]


def test_what_is_recorded_is_read_and_is_whole(folder):
    log = AuditLog(folder)
    assert log.head() is None
    assert verify(folder).broken is None
    fill(log, 3)
    verdict = verify(folder)
    assert (verdict.entries, verdict.first, verdict.broken, verdict.torn_bytes) == (3, 1, None, 0)
    assert verdict.last == log.head()
    assert [entry["jobId"] for entry in entries(folder)] == ["job_0", "job_1", "job_2"]
    assert next(iter(entries(folder)))["at"] == "2023-11-14T22:13:20.000Z"


def test_only_the_owner_may_read_it(folder, log):
    fill(log, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())


def test_nothing_is_written_through_a_link(folder, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    folder.symlink_to(theirs)
    with pytest.raises(AuditError, match="is a link"):
        fill(AuditLog(folder), 1)
    assert list(theirs.iterdir()) == []
    folder.unlink()
    fill(AuditLog(folder), 1)
    (folder / ".lock").unlink()
    other = theirs / "important"
    other.write_text("kept")
    (folder / ".lock").hardlink_to(other)
    with pytest.raises(AuditError, match="no file of its own"):
        fill(AuditLog(folder), 1)


def test_root_gives_the_agents_account_nothing_but_the_record(tmp_path):
    home = tmp_path / "state"
    home.mkdir()
    account = 4242 if os.geteuid() == 0 else os.geteuid()
    os.chown(home, account, -1)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (home / "audit").symlink_to(theirs)
    with pytest.raises(AuditError, match="is a link"):
        fill(AuditLog(home / "audit"), 1)
    assert theirs.stat().st_uid == os.geteuid()
    (home / "audit").unlink()
    fill(AuditLog(home / "audit"), 1)
    assert {path.stat().st_uid for path in [home / "audit", *(home / "audit").iterdir()]} == {account}


def test_files_are_bounded_and_the_chain_goes_on_over_them(folder, log):
    fill(log, 80)
    files = segments(folder)
    assert len(files) == 4
    assert all(path.stat().st_size < 2600 for path in files)
    verdict = verify(folder)
    assert verdict.broken is None
    assert verdict.first > 1
    assert verdict.last.seq > 80  # the notes of removal are entries too
    files[0].unlink()
    assert "missing" in verify(folder).broken


def test_a_line_torn_at_any_byte_is_cut_off_and_said_and_is_no_tampering(folder):
    fill(AuditLog(folder), 3)
    path = the_file(folder)
    whole = path.read_bytes()
    lines = whole.split(b"\n")[:-1]
    start = len(whole) - len(lines[-1]) - 1
    for length in range(start + 1, len(whole)):
        path.write_bytes(whole[:length])
        torn = verify(folder)
        assert (torn.broken, torn.torn_bytes, torn.entries) == (None, length - start, 2)
        AuditLog(folder).append([Entry(0, "agent.started")])
        found = list(entries(folder))
        assert [entry["kind"] for entry in found[2:]] == ["audit.repaired", "agent.started"]
        assert found[2]["tornBytes"] == length - start
        assert verify(folder).broken is None


def test_zeros_that_a_power_cut_has_left_at_the_end_are_a_torn_line(folder):
    fill(AuditLog(folder), 2)
    with the_file(folder).open("ab") as file:
        file.write(bytes(5000))
    fill(AuditLog(folder), 1, first=2)
    verdict = verify(folder)
    assert (verdict.broken, verdict.torn_bytes) == (None, 0)
    assert [entry["kind"] for entry in entries(folder)] == [
        "job.started",
        "job.started",
        "audit.repaired",
        "job.started",
    ]


def test_an_empty_next_file_goes_on_with_the_chain(folder, log):
    fill(log, 5)
    (folder / f"{len(segments(folder)) + 1:06}.jsonl").touch()
    fill(log, 2, first=5)
    assert verify(folder).broken is None
    assert verify(folder).last.seq == 7


def test_damage_is_not_written_over_and_stops_nothing(folder, log):
    fill(log, 3)
    path = the_file(folder)
    edit(path, lambda lines: lines.__setitem__(2, b"garbage"))
    fill(log, 2, first=3)
    assert verify(folder).broken.startswith("000001.jsonl, line 3")
    assert b"garbage\n" in path.read_bytes()
    assert "audit.damage" in [entry["kind"] for entry in entries(folder)]


@pytest.mark.system
def test_kills_during_appends_lose_nothing_that_was_promised_and_break_nothing(folder):
    promised = {}
    for _ in range(40):
        writers = [
            subprocess.Popen(
                [sys.executable, str(DRIVER), str(folder), f"writer-{number}"],
                cwd=ROOT,
                env={"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
            )
            for number in range(2)
        ]
        for number, writer in enumerate(writers):
            head = writer.stdout.readline()  # it has written once; the next writes are under way
            writer.send_signal(signal.SIGKILL)
            for line in [head, *writer.communicate()[0].splitlines(keepends=True)]:
                if line.endswith(b"\n"):
                    _, seq, digest = line.decode().split()
                    promised[int(seq)] = digest
            assert number in (0, 1)
    verdict = verify(folder, [Head(seq, digest) for seq, digest in promised.items()])
    assert verdict.broken is None
    assert len(promised) >= 80


def test_a_disk_that_is_full_at_any_byte_leaves_the_chain_whole(folder):
    fill(AuditLog(folder), 3)
    path = the_file(folder)
    size = path.stat().st_size
    for room in range(0, 320, 7):
        child = os.fork()
        if child == 0:
            code = 9
            try:
                signal.alarm(60)
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, size + room))
                AuditLog(folder).append([Entry(0, "agent.started"), Entry(0, "agent.stopped")])
                code = 0
            except AuditError as error:
                code = 1 if "File too large" in str(error) else 8
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
        assert path.stat().st_size == size
    fill(AuditLog(folder), 1, first=3)
    assert verify(folder).entries == 4
    assert verify(folder).broken is None
