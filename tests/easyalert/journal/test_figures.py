from hypothesis import given
from hypothesis import strategies as st

from easyalert.journal import Journal
from tests.easyalert.journal.conftest import WORKER, envelope, new_job


def run(journal, job_id, *, status="success"):
    journal.take([new_job(job_id)])
    journal.start(job_id, WORKER)
    journal.finish(job_id, envelope(job_id, status))


def test_a_new_journal_counts_nothing(journal):
    figures = journal.figures()
    assert (figures.executed, figures.failed, figures.per_minute) == (0, 0, ())
    assert (figures.in_flight, figures.waiting, figures.undelivered, figures.rejected) == (0, 0, 0, 0)


def test_each_job_is_counted_where_it_stands(journal):
    journal.take([new_job("taken", attempt=1, needs_ack=True), new_job("queued"), new_job("started")])
    journal.start("started", WORKER)
    run(journal, "good")
    run(journal, "bad", status="error")
    run(journal, "sent")
    run(journal, "refused")
    journal.mark_reported(["sent"])
    journal.mark_rejected("refused", "no")
    figures = journal.figures()
    assert (figures.waiting, figures.in_flight, figures.undelivered, figures.rejected) == (2, 1, 2, 1)
    assert (figures.executed, figures.failed) == (4, 1)


def test_undelivered_bytes_are_the_size_of_the_stored_results(journal):
    run(journal, "a")
    stored = journal._db.execute("SELECT length(CAST(result AS BLOB)) FROM jobs").fetchone()[0]
    assert journal.figures().undelivered_bytes == stored
    journal.mark_reported(["a"])
    assert journal.figures().undelivered_bytes == 0


def test_the_last_hour_is_sixty_minutes(machine, journal):
    run(journal, "old", status="error")
    machine.pass_time(30 * 60)
    run(journal, "recent")
    assert journal.figures().executed_last_hour == 2
    machine.pass_time(31 * 60)
    figures = journal.figures()
    assert (figures.executed_last_hour, figures.failed_last_hour) == (1, 0)
    assert (figures.executed, figures.failed) == (2, 1), "totals do not age"


def test_jobs_of_one_minute_share_a_line_and_lines_are_in_order(machine, journal):
    machine.wall = 1_800_000_000.0
    for n in range(3):
        run(journal, f"a{n}", status="error" if n else "success")
    machine.pass_time(60)
    run(journal, "b")
    minute = 1_800_000_000 // 60
    assert journal.figures().per_minute == ((minute, 3, 2), (minute + 1, 1, 0))


def test_a_death_counts_as_a_failed_run(journal):
    journal.take([new_job()])
    journal.owner_died(journal.start("job_1", WORKER), run_again=False)
    assert (journal.figures().executed, journal.figures().failed) == (1, 1)


def test_counters_survive_pruning_and_minutes_do_not_pile_up(machine, journal):
    for n in range(3):
        run(journal, f"job_{n}")
        journal.mark_reported([f"job_{n}"])
        machine.pass_time(20 * 3600)
    journal.prune(60)
    assert journal.latest() == []
    assert journal.figures().executed == 3
    assert journal._db.execute("SELECT count(*) FROM minutes").fetchone()[0] == 1


@given(st.lists(st.sampled_from(["success", "error", "death"]), max_size=12))
def test_counters_equal_the_rows(tmp_path_factory, fates):
    with Journal(tmp_path_factory.mktemp("journal") / "j") as journal:
        for n, fate in enumerate(fates):
            journal.take([new_job(f"job_{n}")])
            row = journal.start(f"job_{n}", WORKER)
            if fate == "death":
                journal.owner_died(row, run_again=False)
            else:
                journal.finish(row.key, envelope(row.key, fate))
        rows = journal.unreported(limit=1000)
        figures = journal.figures()
        assert figures.executed == len(rows) == len(fates)
        assert figures.failed == sum(row.result["status"] == "error" for row in rows)
        assert sum(count for _, count, _ in figures.per_minute) == figures.executed
