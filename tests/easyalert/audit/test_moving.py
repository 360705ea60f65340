"""From the journal into the chain."""

from pathlib import Path

import pytest

from easyalert.audit import AuditLog, Entry, move, record
from easyalert.audit.verify import entries
from easyalert.errors import AuditError
from easyalert.journal import Journal, reserve

DRIVER = Path(__file__).with_name("audit_driver.py")
ROOT = DRIVER.parents[3]


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


def test_what_is_left_of_a_full_disk_is_left_for_results(folder, journal, monkeypatch):
    journal.audit_now("agent.test", {})
    with monkeypatch.context() as full:
        full.setattr(reserve, "_SHORT_BYTES", 1 << 60)
        with pytest.raises(AuditError, match="its disk is full"):
            move(journal, AuditLog(folder))
        assert not folder.exists()
    assert move(journal, AuditLog(folder)) == 1
