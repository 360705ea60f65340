import sqlite3
import threading
from pathlib import Path

import pytest

from easyalert.errors import JournalDamaged, JournalError
from easyalert.journal import State
from tests.easyalert.journal.conftest import WORKER, envelope, new_job


def test_notes_are_kept_replaced_and_removed(machine, journal):
    assert journal.note("registration") is None
    journal.leave_note("registration", {"agentId": "agt_7Qm2"})
    journal.leave_note("registration", {"agentId": "agt_7Qm3"})
    assert machine.journal().note("registration") == {"agentId": "agt_7Qm3"}
    journal.leave_note("registration", None)
    assert journal.note("registration") is None


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_a_journal_error_and_passes(journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    journal._db.execute(f"PRAGMA max_page_count = {journal._db.execute('PRAGMA page_count').fetchone()[0]}")
    big = {**envelope(), "output": "x" * 200_000}
    with pytest.raises(JournalError, match="is full \\(database or disk is full") as caught:
        journal.finish("job_1", big)
    assert not isinstance(caught.value, JournalDamaged)
    assert journal.get("job_1").state is State.STARTED
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert journal.finish("job_1", big), "usable again once there is room"


def test_a_writer_that_holds_the_lock_too_long_is_a_journal_error(machine, journal):
    other = machine.journal()
    journal._db.execute("PRAGMA busy_timeout = 20")
    other._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        journal.take([new_job()])
    other._db.execute("ROLLBACK")
    assert journal.take([new_job()])


def test_damage_found_while_running_is_told_apart(machine, journal):
    journal.take([new_job(f"job_{n}", sealed=b"x" * 3000) for n in range(50)])
    machine.close()
    with machine.path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 30_000)
    damaged = machine.journal()
    with pytest.raises(JournalDamaged):
        damaged.latest(1000)


def test_misuse_is_not_reported_as_damage(machine, journal):
    failures = []

    def elsewhere():
        try:
            journal.get("job_1")
        except sqlite3.ProgrammingError as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(failures) == 1
    journal.close()
    with pytest.raises(sqlite3.ProgrammingError):
        journal.get("job_1")


def test_a_second_connection_of_one_process_keeps_the_first_ones_locks(machine, journal):
    """Opening and closing the file by hand would drop them: POSIX locks belong to the process."""
    machine.journal().close()
    inode = machine.path.stat().st_ino
    held = [line for line in Path("/proc/locks").read_text("ascii").splitlines() if f":{inode} " in line]
    assert held, "the shared lock on the journal is gone"


def test_only_what_would_be_said_again_does_not_wait_for_the_disk(machine):
    journal = machine.journal()
    waited = []

    def step(write):
        write()
        waited.append(journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2)

    step(lambda: journal.take([new_job(needs_ack=True, attempt=1)]))
    step(lambda: journal.acknowledge(["job_1"]))
    step(lambda: journal.start("job_1", WORKER))
    step(lambda: journal.finish("job_1", {"status": "success"}))
    step(lambda: journal.mark_reported(["job_1"]))
    step(lambda: journal.leave_note("poller", {}))
    step(lambda: journal.take([new_job("job_2")]))
    assert waited == [True, False, True, True, False, False, True]
