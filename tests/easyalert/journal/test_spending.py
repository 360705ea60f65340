"""A signature lets one row start, once, whatever the number of its hand-out."""

import pytest

from easyalert.journal import Spending, State
from tests.easyalert.journal.conftest import OTHER_WORKER, WORKER, envelope, new_job

USE = Spending("job_1", 2_000_000_000.0)


def start(journal, key, spending=USE):
    return journal.start(key, WORKER, spending)


def test_the_next_hand_out_of_a_job_that_has_run_does_not_start(journal):
    journal.take([new_job(attempt=1), new_job(attempt=2)])
    assert start(journal, "job_1") is not None
    assert journal.spent_by("job_1") == "job_1"
    assert journal.finish("job_1", envelope("job_1"))
    assert start(journal, "job_1--2") is None
    assert journal.get("job_1--2").state is State.QUEUED
    assert journal.spent_by("job_1") == "job_1"


def test_a_hand_out_that_never_started_spends_nothing(journal):
    journal.take([new_job(attempt=1, start_within_s=-1.0), new_job(attempt=2)])
    assert start(journal, "job_1") is None
    assert journal.spent_by("job_1") is None
    assert start(journal, "job_1--2") is not None


def test_the_same_row_may_run_again_after_its_worker_died(journal):
    journal.take([new_job()])
    row = start(journal, "job_1")
    assert journal.owner_died(row, run_again=True) is State.QUEUED
    assert journal.start("job_1", OTHER_WORKER, USE) is not None


def test_used_signatures_are_remembered_beyond_their_expiry_and_then_forgotten(machine, journal):
    journal.take([new_job()])
    start(journal, "job_1", Spending("job_1", machine.wall + 60))
    machine.pass_time(3600)
    journal.prune(0)
    assert journal.spent_by("job_1") == "job_1"
    machine.pass_time(2 * 86_400)
    journal.prune(0)
    assert journal.spent_by("job_1") is None


@pytest.mark.parametrize("signature", [None, {"jobId": "job_1", "value": "x", "odd": [1, None]}, "text", 5])
def test_what_came_as_a_signature_is_kept_as_it_came(journal, signature):
    journal.take([new_job(signature=signature)])
    assert journal.get("job_1").signature == signature
