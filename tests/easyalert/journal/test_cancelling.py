import threading

import pytest

from easyalert.journal import Journal, State
from tests.easyalert.journal.conftest import OTHER_WORKER, WORKER, envelope, new_job


@pytest.mark.parametrize("changes", [{}, {"attempt": 1, "needs_ack": True}])
def test_a_job_that_has_not_started_is_over_at_once(journal, changes):
    journal.take([new_job(**changes)])
    assert journal.cancel("job_1", "Ada") == "cancelled"
    row = journal.get("job_1")
    assert (row.state, row.outcome, row.cancel_by) == (State.CANCELLED, "cancelled", "Ada")
    assert row.result["status"] == "error"
    assert row.result["exitCode"] == -1
    assert row.result["error"].startswith("cancelled: ")
    assert row.sealed is None
    assert [found.key for found in journal.unreported()] == ["job_1"]
    assert journal.figures().executed == 0
    assert journal.start("job_1", WORKER) is None


def test_a_permit_that_comes_after_the_cancellation_starts_nothing(journal):
    journal.take([new_job(attempt=1, needs_ack=True)])
    journal.cancel("job_1", "Ada")
    journal.acknowledge(["job_1"])
    assert journal.get("job_1").state is State.CANCELLED


def test_a_running_job_is_marked_once_with_who_and_when(machine, journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    assert journal.cancel_requests() == []
    assert journal.cancel("job_1", "Ada") == "marked"
    machine.pass_time(5)
    assert journal.cancel("job_1", "Bob") == "known"
    (row,) = machine.journal().cancel_requests()
    assert (row.key, row.state, row.cancel_by, row.cancel_at) == ("job_1", State.STARTED, "Ada", machine.wall - 5)
    assert journal.asked_to_cancel("job_1") == "Ada"


@pytest.mark.parametrize(("status", "outcome"), [("success", "finished"), ("error", "cancelled")])
def test_what_the_worker_records_is_what_counts(journal, status, outcome):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    journal.cancel("job_1", "Ada")
    assert journal.finish("job_1", envelope(status=status), outcome=outcome, owner=WORKER)
    row = journal.get("job_1")
    assert (row.state, row.outcome, row.result["status"], row.cancel_by) == (State.DONE, outcome, status, "Ada")
    assert journal.cancel_requests() == []


def test_a_job_that_is_over_is_not_touched(journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    journal.finish("job_1", envelope())
    before = journal.get("job_1")
    assert journal.cancel("job_1", "Ada") == "ended"
    assert journal.get("job_1") == before
    assert journal.cancel("job_of_another", "Ada") is None
    assert journal.asked_to_cancel("job_1") is None


@pytest.mark.parametrize("run_again", [False, True])
def test_a_worker_that_dies_with_a_job_to_be_cancelled_leaves_it_cancelled(journal, run_again):
    journal.take([new_job(idempotent=run_again)])
    row = journal.start("job_1", WORKER)
    journal.cancel("job_1", "Ada")
    assert journal.owner_died(row, run_again=run_again) is State.CANCELLED
    found = journal.get("job_1")
    assert found.outcome == "cancelled"
    assert found.result["error"].startswith("cancelled: ")
    assert found.deaths == 1
    assert journal.figures().executed == 1


def test_one_that_ran_before_and_waits_again_does_not_run_again(journal):
    journal.take([new_job(idempotent=True)])
    journal.owner_died(journal.start("job_1", WORKER), run_again=True)
    assert journal.cancel("job_1", "Ada") == "cancelled"
    assert "earlier run was cut off" in journal.get("job_1").result["error"]
    assert journal.start("job_1", OTHER_WORKER) is None


def test_requests_and_ends_race_to_exactly_one_outcome(machine, journal):
    """Either the request finds a running job, or it finds an ended one: never both, never neither."""
    keys = [f"job_{number}" for number in range(100)]
    journal.take([new_job(key) for key in keys])
    for key in keys:
        journal.start(key, WORKER)
    found, together = {}, threading.Barrier(2)

    def ask():
        with Journal(machine.path) as other:
            for key in keys:
                together.wait(10)
                found[key] = other.cancel(key, "Ada")

    thread = threading.Thread(target=ask)
    thread.start()
    for key in keys:
        together.wait(10)
        assert journal.finish(key, envelope(key))
    thread.join()
    for key in keys:
        row = journal.get(key)
        assert row.outcome == "finished"
        assert (found[key], row.cancel_by) in {("marked", "Ada"), ("ended", None)}


def test_a_name_no_database_takes_is_stored_all_the_same(journal):
    journal.take([new_job()])
    assert journal.cancel("job_1", "\ud800" + "x" * 500) == "cancelled"
    assert len(journal.get("job_1").cancel_by) == 200
