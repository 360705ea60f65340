import pytest

from easyalert.journal import State
from easyalert.journal.pause import (
    CONTROL_NOTE,
    NOTE,
    local_pause,
    ordered_pause,
    pause_here,
    pause_now,
    resume_here,
)
from tests.easyalert.journal.conftest import WORKER, new_job


def test_nothing_starts_while_paused_here_and_what_runs_goes_on(machine, journal):
    journal.take([new_job("running"), new_job("waiting")])
    journal.start("running", WORKER)
    pause_here(journal, machine.wall, reason="disk is replaced", until=None, by="ada")
    assert journal.start("waiting", WORKER) is None
    assert journal.get("waiting").state is State.QUEUED
    assert journal.get("running").state is State.STARTED
    assert journal.finish("running", {"status": "success"})
    resume_here(journal)
    assert journal.start("waiting", WORKER) is not None


def test_what_waits_too_long_expires_though_paused(machine, journal):
    journal.take([new_job(start_within_s=60)])
    pause_here(journal, machine.wall, reason=None, until=None, by="ada")
    machine.pass_time(61)
    assert journal.start("job_1", WORKER) is None
    assert journal.get("job_1").state is State.EXPIRED


def test_a_pause_ends_at_its_time_by_the_wall_clock_restarts_and_reboots_included(machine, journal):
    journal.take([new_job(start_within_s=9000)])
    until = machine.wall + 3600
    pause_here(journal, machine.wall, reason="night", until=until, by="ada")
    found = local_pause(machine.journal(), machine.wall + 3599)
    assert (found.kind, found.reason, found.until) == ("paused", "night", until)
    after = machine.reboot(wall_step=3599)
    assert local_pause(after, machine.wall) is not None
    assert after.start("job_1", WORKER) is None
    machine.pass_time(1)
    assert local_pause(after, machine.wall) is None
    assert after.start("job_1", WORKER) is not None


def test_a_drained_agent_still_starts_what_it_was_permitted(machine, journal):
    journal.take([new_job()])
    journal.leave_note(CONTROL_NOTE, {"drain": {"reason": "moves", "until": None}})
    assert ordered_pause(journal, machine.wall).kind == "draining"
    assert journal.start("job_1", WORKER) is not None


def test_an_order_ends_at_its_time(machine, journal):
    journal.leave_note(CONTROL_NOTE, {"disabled": {"reason": None, "until": machine.wall + 10}, "drain": None})
    assert ordered_pause(journal, machine.wall).kind == "disabled"
    assert ordered_pause(journal, machine.wall + 10) is None


def test_the_local_word_comes_first_and_the_sentence_says_who_until_when_and_why(machine, journal):
    journal.leave_note(CONTROL_NOTE, {"drain": {"reason": "moves"}})
    assert pause_now(journal, machine.wall).sentence == "draining by the control plane (moves)"
    pause_here(journal, machine.wall, reason="disk", until=machine.wall + 60, by="ada")
    found = pause_now(journal, machine.wall)
    assert found.sentence == "paused here until 2027-01-15T08:01:00Z (disk)"
    assert found.wire() == {
        "kind": "paused",
        "reason": "disk",
        "until": "2027-01-15T08:01:00Z",
        "sentence": found.sentence,
    }


@pytest.mark.parametrize("note", [None, [], "paused", {"drain": True}, {"drain": []}])
def test_a_note_of_another_shape_pauses_nothing(machine, journal, note):
    journal.leave_note(CONTROL_NOTE, note)
    assert ordered_pause(journal, machine.wall) is None


def test_an_unreadable_end_time_means_until_somebody_ends_it(machine, journal):
    journal.leave_note(NOTE, {"until": "tomorrow", "reason": 7})
    found = local_pause(journal, machine.wall)
    assert (found.until, found.reason) == (None, None)
