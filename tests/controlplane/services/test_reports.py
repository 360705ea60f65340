import pytest

from controlplane.models.tables import Attempt
from controlplane.services import jobs
from controlplane.services.lifecycle import LATE_RESULT_S, LEASE_S
from controlplane.services.reports import REFUSAL_GRACE_S
from tests.controlplane.world import REFUSAL, result


def fate(receipts):
    return [(r.receipt, r.reason) for r in receipts]


def test_a_result_ends_the_job_and_is_shown(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    (receipt,) = world.report(agent, result(wire, output={"stdout": "hi"}))
    assert (receipt.job_id, receipt.attempt, receipt.receipt) == (job, 1, "accepted")
    seen = world.job(job)
    assert seen["status"] == "success"
    assert seen["result"]["output"] == {"stdout": "hi"}
    assert seen["result"]["durationMs"] == 7


@pytest.mark.parametrize(
    ("status", "outcome", "state"),
    [
        ("success", None, "success"),
        ("error", None, "error"),
        ("success", "finished", "success"),
        ("error", "finished", "error"),
        ("error", "timed_out", "timed_out"),
        ("error", "in_doubt", "in_doubt"),
        ("error", "cancelled", "cancelled"),
        ("error", "expired", "expired"),
    ],
)
def test_outcomes(world, status, outcome, state):
    agent = world.agent()
    job = world.submit()
    world.report(agent, result(world.take(agent), status, outcome=outcome))
    assert world.state(job) == state


def test_the_first_final_result_wins(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    assert fate(world.report(agent, result(wire))) == [("accepted", None)]
    assert fate(world.report(agent, result(wire, "error"), result(wire))) == [("duplicate", None)] * 2
    assert world.state(job) == "success"


def test_every_item_gets_its_own_receipt_and_bad_ones_stop_nothing(world):
    agent, other = world.agent(), world.agent("elsewhere")
    world.submit(pool_id="default")
    world.submit(pool_id="elsewhere")
    mine, theirs = world.take(agent), world.poll(other, 1, "elsewhere")[0]
    items = [
        None,
        17,
        [],
        "text",
        {},
        {"jobId": 5, "status": "success"},
        {"jobId": mine["jobId"], "status": "done"},
        result("job_nothing"),
        result(theirs),
        result(mine["jobId"], attempt=9),
        result(mine),
    ]
    assert fate(world.report(agent, *items)) == [("rejected", "malformed")] * 7 + [
        ("rejected", "unknown_job"),
        ("rejected", "not_yours"),
        ("rejected", "stale_attempt"),
        ("accepted", None),
    ]
    assert world.state(theirs["jobId"]) == "dispatched"


def test_a_result_without_attempt_means_the_current_one(world):
    agent = world.agent()
    job = world.submit()
    world.take(agent)
    assert fate(world.report(agent, result(job))) == [("accepted", None)]


def test_a_stale_attempt_changes_nothing_but_is_seen(world):
    a, b = world.agent(), world.agent()
    job = world.submit()
    world.clock.sleep(5)
    (old,) = world.poll(a)
    world.clock.sleep(LEASE_S)
    world.heartbeat(b)
    world.sweep()
    assert fate(world.report(a, result(old))) == [("rejected", "stale_attempt")]
    new = world.take(b)
    assert fate(world.report(a, result(old, "error"))) == [("duplicate", None)]
    assert world.state(job) == "accepted"
    world.report(b, result(new, "error"))
    assert world.state(job) == "error"
    assert [x["end"] for x in world.job(job)["attempts"]] == ["released", "error"]
    assert world.job(job)["attempts"][0]["result"]["status"] == "success"


def test_a_late_result_replaces_in_doubt_within_seven_days(world):
    agent = world.agent()
    first, second = world.submit(), world.submit()
    wires = world.poll(agent, 2)
    world.ack(agent, *wires)
    world.clock.sleep(4000)
    world.sweep()
    assert world.state(first) == world.state(second) == "in_doubt"
    world.clock.sleep(LATE_RESULT_S)
    assert fate(world.report(agent, result(wires[0]))) == [("accepted", None)]
    assert world.state(first) == "success"
    world.clock.sleep(1)
    assert fate(world.report(agent, result(wires[1]))) == [("rejected", "in_doubt")]
    assert world.state(second) == "in_doubt"


def test_a_settled_job_does_not_change_any_more(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.clock.sleep(4000)
    world.sweep()
    world.write(lambda s, now: jobs.settle(s, now, job, status="error", note="looked", by="tok_test"))
    assert fate(world.report(agent, result(wire))) == [("rejected", "error")]
    assert world.state(job) == "error"


def test_a_result_of_a_cancelled_job_is_rejected(world):
    agent = world.agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    world.write(lambda s, now: jobs.cancel(s, now, job, "tok_test"))
    assert fate(world.report(agent, result(wire))) == [("rejected", "cancelled")]
    assert world.state(job) == "cancelled"


def test_a_retried_job_takes_the_result_of_its_new_attempt_only(world):
    agent = world.agent()
    job = world.submit()
    first = world.take(agent)
    world.report(agent, result(first, "error"))
    world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    second = world.take(agent)
    assert second["attempt"] == 2
    assert fate(world.report(agent, result(first))) == [("duplicate", None)]
    assert fate(world.report(agent, result(second))) == [("accepted", None)]
    assert world.state(job) == "success"


def test_base_agent_with_its_own_wire_ids(world):
    agent = world.base_agent()
    job = world.submit()
    (first,) = world.poll(agent)
    world.report(agent, result(first, "error"), features=())
    world.write(lambda s, now: jobs.retry(s, now, job, "tok_test"))
    (second,) = world.poll(agent)
    assert (first["jobId"], second["jobId"]) == (job, f"{job}-2")
    assert fate(world.report(agent, result(first), features=())) == [("duplicate", None)]
    assert fate(world.report(agent, result(second), features=())) == [("accepted", None)]
    assert world.state(job) == "success"


def test_a_duplicate_refusal_does_not_hide_the_real_result(world):
    agent = world.base_agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    refusal = {"jobId": wire["jobId"], **REFUSAL}
    world.report(agent, refusal, refusal, features=())
    assert world.state(job) == "dispatched"
    world.report(agent, result(wire), features=())
    world.report(agent, refusal, features=())
    assert world.state(job) == "success"


def test_a_refusal_that_nothing_follows_was_the_answer(world):
    agent = world.base_agent()
    job = world.submit("nosuch.action")
    (wire,) = world.poll(agent)
    world.report(agent, {"jobId": wire["jobId"], **REFUSAL, "error": "unknown category"}, features=())
    world.clock.sleep(REFUSAL_GRACE_S - 1)
    assert world.sweep() == 0
    world.clock.sleep(1)
    assert world.sweep() == 1
    assert world.state(job) == "error"
    assert world.job(job)["result"]["error"] == "unknown category"


def test_an_extended_agents_refusal_is_believed_at_once(world):
    agent = world.agent()
    job = world.submit()
    world.report(agent, {**result(world.take(agent)), **REFUSAL})
    assert world.state(job) == "error"


def test_figures_no_column_holds_and_nul_do_not_fail(world):
    agent = world.agent()
    job = world.submit()
    wire = world.take(agent)
    world.report(agent, result(wire, "error", exitCode=2**70, durationMs=-(2**70), error="a\x00b", output="x\x00y"))
    seen = world.job(job)["result"]
    assert seen["exitCode"] == 2**31 - 1
    assert seen["error"] == "a\N{REPLACEMENT CHARACTER}b"
    assert seen["output"] == "x\x00y"


def test_a_result_whose_acknowledgement_got_lost_counts(world):
    agent = world.agent()
    job = world.submit()
    (wire,) = world.poll(agent)
    assert fate(world.report(agent, result(wire))) == [("accepted", None)]
    assert world.row(Attempt, (job, 1)).accepted_at is not None
