import sqlite3

import pytest

from easyalert.errors import JournalError
from easyalert.journal import State
from easyalert.journal.pause import pause_here
from easyalert.journal.rows import OUTBOX, job_key
from tests.easyalert.journal.conftest import OTHER_WORKER, WORKER, envelope, new_job


def states(journal):
    return {row.key: row.state for row in journal.latest(1000)}


def finished(journal, job_id="job_1", **changes):
    journal.take([new_job(job_id)])
    assert journal.start(job_id, WORKER) is not None
    assert journal.finish(job_id, envelope(job_id), **changes)


# ---- taking ---------------------------------------------------------------------------------------------------------


def test_a_plain_servers_job_is_queued_at_once(journal):
    assert [fate for _, fate in journal.take([new_job()])] == ["new"]
    row = journal.get("job_1")
    assert row.state is State.QUEUED
    assert row.sealed == b"sealed-parameters"
    assert [queued.key for queued in journal.queued()] == ["job_1"]
    assert journal.unacknowledged() == []


def test_a_job_that_needs_a_permit_waits_for_it(journal):
    journal.take([new_job(attempt=1, needs_ack=True, lease_s=60.0)])
    assert journal.queued() == []
    assert journal.start("job_1", WORKER) is None, "started without the control plane's permit"
    assert [row.key for row in journal.unacknowledged()] == ["job_1"]
    journal.acknowledge(["job_1"])
    assert journal.get("job_1").state is State.QUEUED
    assert journal.get("job_1").acknowledged_ms is not None


def test_refused_jobs_are_dropped_and_started_ones_never(journal):
    journal.take([new_job("a", attempt=1, needs_ack=True), new_job("b")])
    journal.start("b", WORKER)
    journal.acknowledge([], refused=["a", "b"])
    assert states(journal) == {"b": State.STARTED}


def test_an_acknowledgement_does_not_bring_back_what_has_moved_on(journal):
    finished(journal)
    journal.acknowledge(["job_1", "unknown"])
    assert states(journal) == {"job_1": State.DONE}


def test_take_is_one_transaction(machine, journal):
    jobs = [new_job(f"job_{n}") for n in range(5)]
    with pytest.raises(sqlite3.IntegrityError):
        journal.take([*jobs, new_job("bad", timeout_s=None)])
    assert journal.latest() == []
    assert len(journal.take(jobs)) == 5, "the connection is usable after the failure"


def test_a_take_is_one_commit(machine, journal):
    begun = []
    journal._db.set_trace_callback(lambda sql: begun.append(sql) if sql.startswith(("BEGIN", "COMMIT")) else None)
    journal.take([new_job(f"job_{n}") for n in range(20)])
    assert begun == ["BEGIN IMMEDIATE", "COMMIT"]


def test_duplicates_in_one_answer_and_across_answers(journal):
    fates = [fate for _, fate in journal.take([new_job("a"), new_job("a"), new_job("b")])]
    assert fates == ["new", "waiting", "new"]
    assert [fate for _, fate in journal.take([new_job("a", sealed=b"other")])] == ["waiting"]
    assert journal.get("a").sealed == b"sealed-parameters", "the first delivery counts"
    assert journal.figures().waiting == 2


def test_a_running_job_delivered_again_is_left_alone(journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    assert [fate for _, fate in journal.take([new_job()])] == ["running"]
    assert journal.get("job_1").owner == WORKER


@pytest.mark.parametrize("settle", ["unreported", "reported", "rejected"])
def test_a_finished_job_delivered_again_has_its_stored_result_sent_again(journal, settle):
    finished(journal)
    if settle == "reported":
        journal.mark_reported(["job_1"])
    elif settle == "rejected":
        journal.mark_rejected("job_1", "unknown job")
    assert len(journal.unreported()) == (1 if settle == "unreported" else 0)
    before = journal.get("job_1")
    assert [fate for _, fate in journal.take([new_job()])] == ["answered"]
    again = journal.unreported()
    assert [row.result for row in again] == [envelope()]
    assert again[0].finished_at == before.finished_at, "the first time stamp is kept"
    assert journal.figures().executed == 1, "counted once"


@pytest.mark.parametrize(("outcome", "state"), [("in_doubt", State.IN_DOUBT), ("expired", State.EXPIRED)])
def test_redelivery_keeps_how_the_job_ended(machine, journal, outcome, state):
    journal.take([new_job(start_within_s=10.0)])
    if outcome == "expired":
        machine.pass_time(11)
        journal.expire()
    else:
        journal.owner_died(journal.start("job_1", WORKER), run_again=False)
    journal.mark_reported(["job_1"])
    journal.take([new_job()])
    row = journal.get("job_1")
    assert (row.state, row.outcome) == (state, outcome)


def test_a_new_attempt_is_another_job(journal):
    finished(journal)
    assert [fate for _, fate in journal.take([new_job(attempt=2)])] == ["new"]
    assert set(states(journal)) == {"job_1", job_key("job_1", 2)}


def test_a_waiting_job_is_freed_when_it_comes_again_from_a_server_without_permits(journal):
    journal.take([new_job(attempt=1, needs_ack=True)])
    journal.take([new_job(attempt=1, needs_ack=True)])
    assert journal.get("job_1").state is State.TAKEN
    journal.take([new_job(needs_ack=False)])
    assert journal.get("job_1").state is State.QUEUED


def test_a_job_that_cannot_be_run_goes_straight_to_the_outbox(journal):
    refusal = {**envelope(status="error"), "exitCode": -1}
    journal.take([new_job(refusal=refusal, needs_ack=True)])
    row = journal.get("job_1")
    assert (row.state, row.result, row.sealed) == (State.DONE, refusal, None)
    assert [r.key for r in journal.unreported()] == ["job_1"]
    assert journal.figures().executed == 0, "it never ran"
    assert journal.start("job_1", WORKER) is None


# ---- the fence ------------------------------------------------------------------------------------------------------


def test_the_fence_lets_one_through(machine, journal):
    journal.take([new_job()])
    row = journal.start("job_1", WORKER)
    assert (row.state, row.owner, row.started_ms) == (State.STARTED, WORKER, machine.monotonic_ms)
    assert machine.journal().start("job_1", OTHER_WORKER) is None
    assert journal.start("job_1", WORKER) is None, "nor the same worker twice"
    assert journal.start("unknown", WORKER) is None


@pytest.mark.parametrize("state", [*OUTBOX, State.ACKED, State.REJECTED, State.TAKEN, State.STARTED])
def test_nothing_but_a_queued_row_starts(journal, state):
    journal.take([new_job()])
    journal._db.execute("UPDATE jobs SET state = ?", (state,))
    assert journal.start("job_1", WORKER) is None
    assert journal.get("job_1").state is state


def test_finish_stores_the_result_and_forgets_the_parameters(machine, journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    machine.pass_time(0.5)
    assert journal.finish("job_1", envelope(), outcome="timed_out", fault="job", owner=WORKER)
    row = journal.get("job_1")
    assert (row.state, row.outcome, row.fault, row.result) == (State.DONE, "timed_out", "job", envelope())
    assert row.sealed is None
    assert row.since_received(row.finished_ms, machine.boot) == 500


def test_finish_happens_once(journal):
    finished(journal)
    assert not journal.finish("job_1", envelope(status="error"))
    assert journal.get("job_1").result == envelope()
    assert journal.figures().executed == 1


@pytest.mark.parametrize("state", [s for s in State if s is not State.STARTED])
def test_only_a_started_row_is_finished(journal, state):
    journal.take([new_job()])
    journal._db.execute("UPDATE jobs SET state = ?", (state,))
    assert not journal.finish("job_1", envelope())
    assert journal.get("job_1").state is state


def test_a_former_owner_cannot_end_somebody_elses_run(journal):
    journal.take([new_job()])
    stale = journal.start("job_1", WORKER)
    assert journal.owner_died(stale, run_again=True) is State.QUEUED
    journal.start("job_1", OTHER_WORKER)
    assert not journal.finish("job_1", envelope(status="error"), owner=WORKER)
    assert journal.get("job_1").state is State.STARTED
    assert journal.finish("job_1", envelope(), owner=OTHER_WORKER)


def test_results_no_encoder_takes_are_refused_not_half_written(journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    with pytest.raises(ValueError, match="JSON"):
        journal.finish("job_1", {**envelope(), "output": float("nan")})
    assert journal.get("job_1").state is State.STARTED
    assert journal.finish("job_1", envelope())


# ---- death of a worker ----------------------------------------------------------------------------------------------


def test_a_dead_worker_leaves_the_job_in_doubt(journal):
    journal.take([new_job()])
    row = journal.start("job_1", WORKER)
    assert journal.owner_died(row, run_again=False) is State.IN_DOUBT
    found = journal.get("job_1")
    assert (found.state, found.outcome, found.fault, found.deaths) == (State.IN_DOUBT, "in_doubt", "agent", 1)
    assert found.result["status"] == "error"
    assert found.result["exitCode"] == -1
    assert found.result["error"].startswith("in_doubt: ")
    assert found.sealed is None
    assert journal.start("job_1", OTHER_WORKER) is None, "never started again"


def test_a_repeatable_job_is_queued_again_with_its_parameters(journal):
    journal.take([new_job()])
    assert journal.owner_died(journal.start("job_1", WORKER), run_again=True) is State.QUEUED
    row = journal.get("job_1")
    assert (row.state, row.owner, row.sealed, row.deaths) == (State.QUEUED, None, b"sealed-parameters", 1)
    assert journal.figures().executed == 0


def test_the_third_death_is_final(journal):
    journal.take([new_job()])
    fates = [journal.owner_died(journal.start("job_1", WORKER), run_again=True) for _ in range(3)]
    assert fates == [State.QUEUED, State.QUEUED, State.DONE]
    row = journal.get("job_1")
    assert row.result["error"].startswith("poison: 3 ")
    assert row.fault == "job"
    assert journal.figures().executed == 1


def test_a_late_finder_of_a_death_does_not_touch_the_next_run(journal):
    journal.take([new_job()])
    stale = journal.start("job_1", WORKER)
    assert journal.owner_died(stale, run_again=True) is State.QUEUED
    assert journal.owner_died(stale, run_again=True) is None
    fresh = journal.start("job_1", OTHER_WORKER)
    assert journal.owner_died(stale, run_again=True) is None, "the second run would have been started twice"
    assert journal.owner_died(stale, run_again=False) is None
    assert journal.get("job_1") == fresh


def test_a_death_after_the_end_changes_nothing(journal):
    journal.take([new_job()])
    row = journal.start("job_1", WORKER)
    journal.finish("job_1", envelope())
    assert journal.owner_died(row, run_again=False) is None
    assert journal.get("job_1").result == envelope()
    assert journal.get("job_1").deaths == 0


def test_running_rows_name_their_owners(journal):
    journal.take([new_job("a"), new_job("b")])
    journal.start("a", WORKER)
    assert [(row.key, row.owner) for row in journal.running()] == [("a", WORKER)]


# ---- start deadlines ------------------------------------------------------------------------------------------------


def test_a_job_past_its_start_deadline_expires(machine, journal):
    journal.take([new_job("early", start_within_s=10.0), new_job("late", start_within_s=20.0)])
    machine.pass_time(10.5)
    assert journal.expire() == ["early"]
    row = journal.get("early")
    assert (row.state, row.outcome) == (State.EXPIRED, "expired")
    assert row.result["error"].startswith("expired: ")
    assert row.sealed is None
    assert journal.get("late").state is State.QUEUED
    assert journal.figures().executed == 0, "it never ran"
    assert journal.expire() == []


def test_the_fence_itself_refuses_a_late_start(machine, journal):
    journal.take([new_job(start_within_s=10.0)])
    machine.pass_time(10.5)
    assert journal.start("job_1", WORKER) is None
    assert journal.get("job_1").state is State.EXPIRED


@pytest.mark.parametrize("step", [3600.0, -3600.0])
def test_a_step_of_the_wall_clock_expires_nothing(machine, journal, step):
    journal.take([new_job(start_within_s=10.0)])
    machine.wall += step
    assert journal.expire() == []
    assert journal.start("job_1", WORKER) is not None


@pytest.mark.parametrize(("wall_step", "late"), [(5.0, False), (60.0, True)])
def test_after_a_reboot_the_wall_clock_decides(machine, journal, wall_step, late):
    journal.take([new_job(start_within_s=30.0)])
    after = machine.reboot(wall_step=wall_step)
    assert after.expire() == (["job_1"] if late else [])
    assert (after.start("job_1", WORKER) is None) is late


def test_a_job_that_has_run_before_is_in_doubt_not_expired(machine, journal):
    journal.take([new_job(start_within_s=10.0)])
    journal.owner_died(journal.start("job_1", WORKER), run_again=True)
    machine.pass_time(11)
    assert journal.expire() == ["job_1"]
    row = journal.get("job_1")
    assert (row.state, row.outcome) == (State.IN_DOUBT, "in_doubt")
    assert row.result["error"].startswith("in_doubt: ")


def test_times_of_another_boot_are_not_compared(machine, journal):
    journal.take([new_job()])
    after = machine.reboot()
    after.start("job_1", WORKER)
    row = after.get("job_1")
    assert row.since_received(row.started_ms, machine.boot) is None


# ---- the outbox -----------------------------------------------------------------------------------------------------


def test_the_outbox_is_oldest_first_and_bounded(machine, journal):
    for name in ("c", "a", "b"):
        finished(journal, name)
        machine.pass_time(1)
    assert [row.key for row in journal.unreported()] == ["c", "a", "b"]
    assert [row.key for row in journal.unreported(limit=2)] == ["c", "a"]


def test_a_result_leaves_the_outbox_on_an_answer_for_it_only(journal):
    finished(journal, "a")
    finished(journal, "b")
    journal.mark_reported(["a", "unknown"])
    assert [row.key for row in journal.unreported()] == ["b"]
    assert journal.get("a").result == envelope("a"), "kept as de-duplication memory"


def test_a_rejected_result_is_set_aside_with_its_reason(journal):
    finished(journal, "a")
    finished(journal, "b")
    journal.mark_rejected("a", "too large " * 100)
    assert [row.key for row in journal.unreported()] == ["b"]
    row = journal.latest(state=State.REJECTED)[0]
    assert (row.key, len(row.rejection)) == ("a", 500)
    assert journal.figures().rejected == 1


def test_a_reason_no_database_takes_is_stored_all_the_same(journal):
    finished(journal)
    journal.mark_rejected("job_1", "no: \ud800")
    assert journal.get("job_1").rejection == "no: ?"


def test_marks_do_not_touch_rows_outside_the_outbox(journal):
    journal.take([new_job()])
    journal.start("job_1", WORKER)
    journal.mark_reported(["job_1"])
    journal.mark_rejected("job_1", "no")
    assert journal.get("job_1").state is State.STARTED


def test_pruning_forgets_old_settled_rows_and_nothing_else(machine, journal):
    day = 86400.0
    finished(journal, "reported")
    finished(journal, "waiting")
    finished(journal, "rejected")
    journal.mark_reported(["reported"])
    journal.mark_rejected("rejected", "no")
    journal.take([new_job("queued", start_within_s=99 * day)])
    machine.pass_time(day - 1)
    assert journal.prune(day) == 0
    machine.pass_time(2)
    assert journal.prune(day) == 1
    assert set(states(journal)) == {"waiting", "rejected", "queued"}
    machine.pass_time(30 * day)
    assert journal.prune(day) == 1
    assert set(states(journal)) == {"waiting", "queued"}, "an undelivered result is never dropped by age"


def test_pruning_is_bounded_per_call(machine, journal):
    for n in range(5):
        finished(journal, f"job_{n}")
    journal.mark_reported([f"job_{n}" for n in range(5)])
    machine.pass_time(100)
    assert [journal.prune(50, limit=2) for _ in range(4)] == [2, 2, 1, 0]


# ---- looking --------------------------------------------------------------------------------------------------------


def test_latest_is_newest_first(machine, journal):
    for name in ("a", "b", "c"):
        journal.take([new_job(name)])
        machine.pass_time(1)
    assert [row.key for row in journal.latest(2)] == ["c", "b"]
    assert journal.latest(state=State.DONE) == []


def test_unsettled_counts_what_fills_slots(journal):
    journal.take([new_job("a"), new_job("b", attempt=1, needs_ack=True), new_job("c")])
    journal.start("c", WORKER)
    finished(journal, "d")
    assert journal.unsettled() == 3


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM jobs WHERE state = 'queued' ORDER BY received_ms, key",
        "SELECT * FROM jobs WHERE state IN ('done', 'in_doubt', 'cancelled', 'expired') ORDER BY finished_at",
        "SELECT count(*) FROM jobs WHERE state IN ('taken', 'queued', 'started')",
        "SELECT key FROM jobs WHERE settled_at < 1 AND (state = 'acked' OR settled_at < 0)",
    ],
)
def test_a_days_memory_is_not_read_on_every_poll(journal, query):
    plan = " ".join(row["detail"] for row in journal._db.execute(f"EXPLAIN QUERY PLAN {query}"))
    assert "SCAN jobs" not in plan


# ---- permits that were another agent's ------------------------------------------------------------------------------


def test_permits_are_withdrawn_from_what_has_not_started(journal):
    journal.take([new_job(f"job_{n}", attempt=1, needs_ack=True, lease_s=60.0) for n in (1, 2, 3)])
    journal.take([new_job("plain")])
    journal.acknowledge(["job_1", "job_2"])
    assert journal.start("job_1", WORKER) is not None
    assert journal.withdraw_permits() == 1
    taken, queued, started = State.TAKEN, State.QUEUED, State.STARTED
    assert states(journal) == {"job_1": started, "job_2": taken, "job_3": taken, "plain": queued}
    assert journal.start("job_2", WORKER) is None, "started with the permit of another agent"
    journal.acknowledge(["job_2"])
    assert journal.start("job_2", WORKER) is not None


# ---- what may run again elsewhere -----------------------------------------------------------------------------------


def die(journal, *, run_again):
    """The worker of job_1 is started and dies."""
    assert journal.start("job_1", WORKER) is not None
    return journal.owner_died(journal.get("job_1"), run_again=run_again)


def test_poison_of_what_may_be_repeated_says_that_another_agent_may_try(journal):
    journal.take([new_job()])
    assert [die(journal, run_again=True) for _ in range(3)] == [State.QUEUED, State.QUEUED, State.DONE]
    assert journal.get("job_1").result["repeatable"] is True


def test_doubt_about_what_may_not_be_repeated_says_nothing_of_the_kind(journal):
    journal.take([new_job()])
    assert die(journal, run_again=False) is State.IN_DOUBT
    assert "repeatable" not in journal.get("job_1").result


def test_a_name_that_is_no_text_is_said_to_be_none(journal):
    """What a command line holds when its bytes are no UTF-8."""
    for ask in (journal.find, journal.get, journal.asked_to_cancel, lambda name: journal.cancel(name, "me")):
        with pytest.raises(JournalError, match="is no text"):
            ask("job\udcff")


# ---- refusing -------------------------------------------------------------------------------------------------------


def test_a_refused_job_ends_without_ever_having_started(journal):
    journal.take([new_job()])
    assert journal.refuse("job_1", envelope("job_1", status="error"), "job")
    row = journal.get("job_1")
    assert (row.state, row.outcome, row.fault, row.started_ms, row.owner, row.sealed) == (
        *(State.DONE, "finished", "job"),
        *(None, None, None),
    )
    assert [row.key for row in journal.unreported()] == ["job_1"]
    assert journal.figures().executed == 0, "nothing was executed"


def test_only_what_could_start_is_refused(journal):
    journal.take(
        [new_job("late", start_within_s=-1.0), new_job("running"), new_job("taken", attempt=1, needs_ack=True)]
    )
    journal.start("running", WORKER)
    for key in ("late", "running", "taken", "unknown"):
        assert not journal.refuse(key, envelope(key), "job")
    assert states(journal) == {"late": State.EXPIRED, "running": State.STARTED, "taken": State.TAKEN}


def test_a_refused_job_that_ran_before_is_in_doubt(journal):
    journal.take([new_job()])
    journal.owner_died(journal.start("job_1", WORKER), run_again=True)
    assert journal.refuse("job_1", envelope("job_1"), "job")
    assert journal.get("job_1").state is State.IN_DOUBT


def test_a_paused_agent_refuses_nothing(journal, machine):
    journal.take([new_job()])
    pause_here(journal, machine.wall, reason=None, until=None, by="me")
    assert not journal.refuse("job_1", envelope("job_1"), "job")
    assert journal.get("job_1").state is State.QUEUED
