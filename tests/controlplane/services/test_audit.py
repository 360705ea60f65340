import pytest

from controlplane.services import audit, jobs
from tests.controlplane.world import result


def test_rows_are_listed_newest_first_and_by_page_target_and_action(world):
    for number in range(5):
        world.clock.sleep(1)
        world.write(
            lambda s, now, n=number: audit.record(
                s, now, actor="a", action=f"kind.{n % 2}", target=f"job_{n % 3}", number=n
            )
        )

    def numbers(**wanted):
        asked = {"target": None, "action": None, "before": None, "limit": 10, **wanted}
        return world.read(lambda s, _now: [row.detail["number"] for row in audit.list_rows(s, **asked)])

    assert numbers() == [4, 3, 2, 1, 0]
    assert numbers(target="job_0") == [3, 0]
    assert numbers(action="kind.1") == [3, 1]
    newest = world.read(lambda s, _now: audit.list_rows(s, target=None, action=None, before=None, limit=2))
    assert numbers(before=newest[-1].seq, limit=2) == [2, 1]


def test_a_cancel_is_recorded_once_with_who_and_when(world):
    world.agent()
    job = world.submit()
    for _ in range(2):
        world.write(lambda s, now: jobs.cancel(s, now, job, "tok_7"))
    (row,) = world.audited(job)
    assert (row["actor"], row["action"], row["detail"]) == ("tok_7", "job.cancel", {"state": "pending"})


def test_a_retry_is_recorded_with_who_and_what_it_was_before(world):
    world.agent()
    job = world.submit(created_by="tok_1")
    world.write(lambda s, now: jobs.cancel(s, now, job, "tok_1"))
    world.write(lambda s, now: jobs.retry(s, now, job, "tok_2"))
    row = world.audited(job)[-1]
    assert (row["actor"], row["action"], row["detail"]) == ("tok_2", "job.retry", {"state": "cancelled"})


def test_an_override_of_the_executors_word_on_idempotence_is_recorded(world):
    world.agent()
    assert world.audited(world.submit()) == []
    (row,) = world.audited(world.submit(idempotent=True))
    assert row["action"] == "job.idempotence_set"
    assert row["detail"] == {"actionType": "script.bash", "idempotent": True}


def test_what_a_person_settles_is_recorded(world):
    agent = world.agent()
    job = world.submit()
    world.report(agent, result(world.take(agent), "error", outcome="in_doubt", output=None))
    world.write(lambda s, now: jobs.settle(s, now, job, status="success", note="seen", by="tok_7"))
    (row,) = world.audited(job)
    assert (row["actor"], row["detail"]) == ("tok_7", {"status": "success", "note": "seen"})


@pytest.mark.parametrize("status", ["success", "error"])
def test_a_late_result_that_replaces_the_doubt_is_recorded(world, status):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    for _ in range(30):
        world.clock.sleep(60)
        world.sweep()
    assert world.state(job) == "in_doubt"
    assert world.audited(job) == []
    world.report(agent, result(wire, status))
    (row,) = world.audited(job)
    assert row["action"] == "job.late_result"
    assert agent in row["actor"]
    assert row["detail"] == {"attempt": 1, "status": status, "outcome": "finished"}
