import pytest

from easyalert.journal import State
from tests.easyalert.journal.conftest import WORKER, envelope, new_job

DAY = 86400.0


@pytest.fixture
def stepped(machine, journal):
    """Sets the wall clock, as the poller's loop finds it."""
    journal.follow_clock()

    def step(seconds):
        machine.wall += seconds
        return journal.follow_clock()

    return step


def finished(journal, job_id):
    journal.take([new_job(job_id)])
    assert journal.start(job_id, WORKER) is not None
    assert journal.finish(job_id, envelope(job_id))


def test_time_that_passes_is_no_step(machine, journal, stepped):
    finished(journal, "a")
    before = journal.get("a")
    machine.pass_time(7 * DAY)
    assert journal.follow_clock() == 0
    assert stepped(0.5) == 0, "a clock that is slewed is not set"
    assert journal.get("a") == before


@pytest.mark.parametrize("step", [30 * DAY, 3600.0, -3600.0])
def test_the_memory_of_what_has_run_is_as_long_as_ever(machine, journal, stepped, step):
    finished(journal, "a")
    journal.mark_reported(["a"])
    machine.pass_time(DAY / 2)
    assert stepped(step) == pytest.approx(step)
    machine.pass_time(DAY / 2 - 1)
    assert journal.prune(DAY) == 0
    machine.pass_time(2)
    assert journal.prune(DAY) == 1


def test_pruning_itself_looks_at_the_clock_first(machine, journal, stepped):
    finished(journal, "a")
    journal.mark_reported(["a"])
    machine.wall += 30 * DAY
    assert journal.prune(DAY) == 0


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_start_deadline_is_kept_over_a_step_and_a_reboot(machine, journal, stepped, step):
    journal.take([new_job("soon", start_within_s=900.0), new_job("late", start_within_s=10.0)])
    stepped(step)
    after = machine.reboot(wall_step=60.0)
    after.follow_clock()
    assert after.expire() == ["late"]
    assert after.get("soon").state is State.QUEUED


@pytest.mark.parametrize("step", [3600.0, -3600.0, 300.0, -300.0])
def test_the_last_hours_figures_stay_those_of_the_last_hour(machine, journal, stepped, step):
    finished(journal, "old")
    machine.pass_time(45 * 60)
    finished(journal, "new")
    stepped(step)
    assert journal.figures().executed_last_hour == 2
    machine.pass_time(30 * 60)
    assert journal.figures().executed_last_hour == 1
    machine.pass_time(60 * 60)
    assert journal.figures().executed_last_hour == 0
    assert journal.figures().executed == 2


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_the_outbox_stays_in_order(machine, journal, stepped, step):
    for name in ("first", "second"):
        finished(journal, name)
        machine.pass_time(1)
    stepped(step)
    finished(journal, "third")
    assert [row.key for row in journal.unreported()] == ["first", "second", "third"]


def test_a_clock_that_was_wrong_at_boot_spoils_nothing_of_before(machine, journal, stepped):
    """Without a battery a machine boots in 1970, and is set right when it finds the network."""
    finished(journal, "a")
    journal.mark_reported(["a"])
    right = machine.wall
    after = machine.reboot(wall_step=-right)
    after.follow_clock()
    assert after.prune(DAY) == 0
    machine.wall += right
    after.follow_clock()
    assert after.get("a").finished_at == pytest.approx(right)
    machine.pass_time(DAY + 1)
    assert after.prune(DAY) == 1
