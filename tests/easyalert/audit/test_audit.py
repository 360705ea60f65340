import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from easyalert.audit import AuditLog, Entry, Head, move, record, verify
from easyalert.audit.log import segments
from easyalert.audit.record import LINE_MAX_BYTES, Mark, line_of, parse_line
from easyalert.audit.verify import entries
from easyalert.errors import AuditError
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


# ---- the chain


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


def test_nothing_that_comes_from_outside_makes_a_line_too_long_or_breaks_one(folder, log):
    fields = {"jobId": "x" * 10**6, "by": "\n\x00\ud800" * 500, "note": {"a": ["b"] * 10_000}}
    log.append([Entry(0, "job.ended", fields)])
    assert all(len(line) < LINE_MAX_BYTES for line in the_file(folder).read_bytes().split(b"\n"))
    assert verify(folder).broken is None


def test_fields_cannot_pass_for_the_chains_own(folder, log):
    log.append([Entry(0, "job.ended", {"seq": 99, "kind": "other", "prev": "x", "hash": "x", "mark": "x"})])
    assert verify(folder).broken is None
    assert verify(folder).last.seq == 1


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


# ---- what verify finds


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


@pytest.mark.parametrize("text", ["", "1", "1:", "x:" + "0" * 64, "1:" + "g" * 64, "1:" + "0" * 63, "-1:" + "0" * 64])
def test_an_anchor_is_a_number_and_a_hash(text):
    assert Head.read(text) is None
    assert Head.read("7:" + "a" * 64) == Head(7, "a" * 64)


# ---- power cuts and kills


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
    assert verify(folder).broken is None
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


# ---- from the journal


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        yield journal


def test_entries_of_the_journal_are_moved_once_whoever_dies_in_between(folder, journal, monkeypatch):
    log = AuditLog(folder, segment_bytes=600)
    for number in range(3):
        journal.audit_now("agent.test", {"number": number})
    real = journal.audit_moved

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "audit_moved", dies)
    with pytest.raises(KeyboardInterrupt):
        move(journal, log)
    monkeypatch.setattr(journal, "audit_moved", real)
    journal.audit_now("agent.test", {"number": 3})
    log.append([Entry(0, "of.another.process")])
    assert move(journal, log) == 4
    assert [entry.get("number") for entry in entries(folder)] == [0, 1, 2, None, 3]
    assert move(journal, log) == 0
    assert journal.note("auditHead") == {"seq": 5, "hash": log.head().hash}


def test_a_journal_made_anew_counts_from_one_and_nothing_is_taken_for_known(folder, tmp_path):
    log = AuditLog(folder)
    for name in ("first", "second"):
        with Journal(tmp_path / name) as journal:
            journal.audit_now("agent.test", {"of": name})
            assert move(journal, log) == 1
    assert [entry["of"] for entry in entries(folder)] == ["first", "second"]


def test_many_are_moved_in_the_order_they_happened(folder, journal):
    for number in range(1203):
        journal.audit_now("agent.test", {"number": number})
    assert move(journal, AuditLog(folder)) == 1203
    assert [entry["number"] for entry in entries(folder)] == list(range(1203))


@pytest.mark.parametrize("there", [True, False])
def test_something_is_recorded_with_and_without_a_journal(folder, tmp_path, there):
    path = tmp_path / "journal.sqlite3"
    if there:
        Journal(path).close()
    record(path, folder, "credential.stored", connectionId="web-1", by="root")
    (found,) = entries(folder)
    assert (found["kind"], found["connectionId"], found["by"]) == ("credential.stored", "web-1", "root")
    assert path.exists() is there


def test_what_cannot_be_written_waits_in_the_journal_and_is_said(folder, tmp_path, caplog):
    path = tmp_path / "journal.sqlite3"
    Journal(path).close()
    folder.write_text("in the way")
    record(path, folder, "agent.started")
    assert "cannot be written" in caplog.text
    folder.unlink()
    with Journal(path) as journal:
        assert move(journal, AuditLog(folder)) == 1


def test_marks_are_read_as_they_are_written():
    assert Mark.read(str(Mark("ab", 7))) == Mark("ab", 7)
    assert [Mark.read(text) for text in (None, 7, "", "ab", ":7", "ab:", "ab:x")] == [None] * 7


def test_what_is_no_line_is_not_parsed():
    line = line_of(Entry(0, "x"), None)[0].rstrip(b"\n")
    assert parse_line(line)["seq"] == 1
    document = json.loads(line)
    for wrong in (b"", b"[]", b"\xff", b"[" * 10_000, json.dumps({**document, "seq": True}).encode(), line + b" "):
        assert parse_line(wrong) is None
