"""What is found, and how it is named."""

from pathlib import Path

import pytest

from easyalert.audit import AuditLog, Entry, Head, verify
from easyalert.audit.log import segments
from easyalert.audit.record import line_of, parse_line
from tests.easyalert.audit.conftest import edit, fill, the_file

DRIVER = Path(__file__).with_name("audit_driver.py")
ROOT = DRIVER.parents[3]


@pytest.mark.parametrize("number", range(6))
def test_every_changed_byte_of_every_line_is_found_and_named(folder, number):
    fill(AuditLog(folder), 6)
    path = the_file(folder)
    whole = path.read_bytes()
    lines = whole.split(b"\n")[:-1]
    start = sum(len(line) + 1 for line in lines[:number])
    for position in range(start, start + len(lines[number])):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        broken = verify(folder).broken
        assert broken is not None
        assert broken.startswith(f"000001.jsonl, line {number + 1}")


def test_a_line_made_anew_with_a_right_hash_is_found_by_the_next(folder):
    fill(AuditLog(folder), 4)

    def forge(lines):
        before = parse_line(lines[0])
        head = Head(before["seq"], before["hash"])
        lines[1] = line_of(Entry(0, "job.started", {"jobId": "another"}), head)[0].rstrip(b"\n")

    edit(the_file(folder), forge)
    assert verify(folder).broken.startswith("000001.jsonl, line 3 (entry 3): it follows another entry")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines.pop(2), "line 3 (entry 4): entries 3 to 3 are missing"),
        (lambda lines: lines.__setitem__(slice(1, 3), [lines[2], lines[1]]), "line 2 (entry 3): entries 2 to 2 are missing"),
        (lambda lines: lines.insert(3, lines[1]), "line 4 (entry 2): it is out of order, or stands there twice"),
        (lambda lines: lines.pop(0), "entries 1 to 1 are missing"),
        (lambda lines: lines.insert(2, b""), "line 3: its content"),
        (lambda lines: lines.__setitem__(2, lines[2].replace(b":", b": ", 1)), "line 3: its content"),
    ],
)  # fmt: skip
def test_deletion_reordering_and_repetition_are_found(folder, change, says):
    fill(AuditLog(folder), 6)
    edit(the_file(folder), change)
    assert says in verify(folder).broken


def test_a_file_in_the_middle_that_is_gone_or_exchanged_is_found(folder, log):
    fill(log, 30)
    files = segments(folder)
    taken = files[1].read_bytes()
    files[1].unlink()
    assert "are missing before it" in verify(folder).broken
    files[1].write_bytes(files[2].read_bytes())
    files[2].write_bytes(taken)
    assert verify(folder).broken is not None


def test_a_cut_end_is_found_by_what_was_witnessed(folder):
    log = AuditLog(folder)
    fill(log, 6)
    witnessed = log.head()
    edit(the_file(folder), lambda lines: lines.pop())
    assert verify(folder).broken is None, "the chain alone cannot tell"
    assert "entry 6 was witnessed, the record ends with entry 5" in verify(folder, [witnessed]).broken
    fill(log, 3, first=50)
    assert "line 6 (entry 6): it is not the entry that was witnessed" in verify(folder, [witnessed]).broken


def test_a_record_that_was_written_anew_as_a_whole_is_found_by_what_was_witnessed(folder):
    log = AuditLog(folder)
    fill(log, 6)
    witnessed = log.head()
    the_file(folder).unlink()
    fill(log, 8, first=1)
    assert verify(folder).broken is None
    assert "entry 6" in verify(folder, [witnessed]).broken
