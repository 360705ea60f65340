import pytest

from easyalert.journal import Spending, State
from easyalert.journal.stepping import _SIGNED_FOR_MAX_S
from easyalert.protocol.signing import LIFETIME_MAX_S
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


# ---- used signatures ------------------------------------------------------------------------------------------------


def use(journal, machine, job_id, *, lasts_s):
    journal.take([new_job(job_id)])
    assert journal.start(job_id, WORKER, Spending(job_id, machine.wall + lasts_s)) is not None


def test_a_clock_set_forward_and_back_makes_no_signature_good_a_second_time(machine, journal, stepped):
    use(journal, machine, "a", lasts_s=7 * DAY)
    stepped(30 * DAY)
    journal.prune(DAY)
    assert journal.spent_by("a") == "a"
    stepped(-30 * DAY)
    machine.pass_time(7 * DAY - 1)
    journal.prune(DAY)
    assert journal.spent_by("a") == "a", "the signature is good for another second"


def test_a_clock_set_back_shortens_no_memory_of_a_signature(machine, journal, stepped):
    use(journal, machine, "a", lasts_s=7 * DAY)
    stepped(-3 * DAY)
    machine.pass_time(10 * DAY - 1)
    journal.prune(DAY)
    assert journal.spent_by("a") == "a"
    machine.pass_time(DAY + 2)
    journal.prune(DAY)
    assert journal.spent_by("a") is None


def test_a_machine_that_begins_in_1970_does_not_remember_signatures_for_ever(machine, journal, stepped):
    use(journal, machine, "a", lasts_s=7 * DAY)
    today = machine.wall
    after = machine.reboot(wall_step=-today)
    after.follow_clock()
    machine.wall += today
    after.follow_clock()
    machine.pass_time(LIFETIME_MAX_S + DAY + 1)
    after.prune(DAY)
    assert after.spent_by("a") is None
    assert _SIGNED_FOR_MAX_S == LIFETIME_MAX_S
