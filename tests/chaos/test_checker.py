from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.checker import Counters, History, JobSeen, RowSeen, Strike, judge
from chaos.recorder import Mark, printed_by


def good() -> History:
    """Three jobs: two succeed one after the other, the third is cut by the kill of its worker."""
    return History(
        cap=1,
        submitted=3,
        jobs=[JobSeen(0, "j0", "success"), JobSeen(1, "j1", "success"), JobSeen(2, "j2", "in_doubt")],
        marks=[
            Mark("start", 0, "one", 1.0), Mark("end", 0, "one", 1.5),
            Mark("start", 1, "one", 1.5), Mark("end", 1, "one", 2.0),
            Mark("start", 2, "one", 3.0),
        ],
        rows=[
            RowSeen("one", "j0", "acked", "finished", True, 900, 1_600),
            RowSeen("one", "j1", "acked", "finished", True, 1_400, 2_100),
            RowSeen("one", "j2", "acked", "in_doubt", False, 2_900, 3_500),
        ],
        strikes=[Strike(3_100, 3_101, "kill_worker", "one", hit=(4711,))],
        counters=[Counters("one", 3, 1, 3, 1)],
        peaks={"one": 1},
        finals=[("j0", "success"), ("j1", "success"), ("j2", "in_doubt")],
    )  # fmt: skip


def broken(history: History) -> str:
    return "\n".join(judge(history).violations)


def test_a_history_without_fault_passes_with_its_figures():
    verdict = judge(good())
    assert verdict.violations == []
    assert verdict.figures["ended"] == {"success": 2, "in_doubt": 1}
    assert verdict.figures["inDoubtCauses"] == {"kill_worker": 1}
    assert (verdict.figures["lost"], verdict.figures["doubleEffects"], verdict.figures["falseSuccess"]) == (0, 0, 0)


def test_a_double_effect():
    history = good()
    history.marks.append(Mark("start", 1, "two", 9.0))
    assert broken(history) == "double effect: job 1 started 2 times and is not idempotent"


def test_a_repeated_idempotent_job_is_no_double_effect():
    history = good()
    history.marks.append(Mark("start", 1, "two", 9.0))
    history.jobs[1] = replace(history.jobs[1], idempotent=True)
    verdict = judge(history)
    assert verdict.violations == []
    assert verdict.figures["repeatedIdempotent"] == 1


@pytest.mark.parametrize("state", ["pending", "dispatched", "accepted", "running"])
def test_a_job_that_never_ends_is_lost(state):
    history = good()
    history.jobs[0] = replace(history.jobs[0], status=state)
    assert f"lost: job 0 (j0) is still {state}" in broken(history)


def test_a_job_the_control_plane_has_forgotten():
    history = good()
    history.submitted = 4
    assert "1 submitted jobs are unknown" in broken(history)


def test_a_job_that_ends_too_late():
    history = good()
    history.late.append("j1")
    assert "late: job j1" in broken(history)


@pytest.mark.parametrize("missing", ["start", "end"])
def test_a_success_without_its_whole_effect(missing):
    history = good()
    history.marks = [mark for mark in history.marks if (mark.kind, mark.job) != (missing, 0)]
    assert "false success: job 0" in broken(history)


def test_two_different_final_results():
    history = good()
    history.finals.insert(0, ("j1", "error"))
    assert "two results: job j1 was error, then success" in broken(history)


def test_the_truth_may_replace_in_doubt():
    history = good()
    history.finals.insert(0, ("j1", "in_doubt"))
    assert broken(history) == ""


def test_a_final_state_that_was_taken_back_into_doubt():
    history = good()
    history.finals.append(("j0", "in_doubt"))
    assert "two results: job j0 was success, then in_doubt" in broken(history)


def test_too_many_at_once_by_their_marks():
    history = good()
    history.marks[2] = replace(history.marks[2], at=1.4)
    assert broken(history) == "cap: 2 jobs ran at once on agent one, 1 are allowed"


def test_two_agents_have_a_cap_each():
    history = good()
    history.marks[2:4] = [replace(mark, agent="two", at=mark.at - 0.3) for mark in history.marks[2:4]]
    assert "cap" not in broken(history)


def test_too_many_at_once_by_their_connections():
    history = good()
    history.peaks["one"] = 2
    assert broken(history) == "cap: 2 jobs ran at once on agent one, 1 are allowed"


@pytest.mark.parametrize(
    "strike",
    [
        Strike(1_000, 1_001, "kill_worker", "one", hit=(1,)),  # long before it began
        Strike(3_600, 3_601, "kill_worker", "one", hit=(1,)),  # after it was over
        Strike(3_100, 3_101, "kill_worker", "two", hit=(1,)),  # elsewhere
        Strike(3_100, 3_101, "kill_worker", "one"),  # nobody was hit
        Strike(3_100, 3_101, "kill_program", "one", program="redis", hit=(1,)),  # may not cut a job
        Strike(3_100, 3_101, "toxic", "one", hit=(1,)),
    ],
)
def test_in_doubt_although_nothing_was_cut(strike):
    history = good()
    history.strikes = [strike]
    assert "in doubt without a reason: job 2 (j2); nothing was killed" in broken(history)


@pytest.mark.parametrize("strike", [
    Strike(3_100, 3_101, "kill_program", "one", program="workers", hit=(1,)),
    Strike(3_100, 3_101, "kill_supervisor", "one", hit=(1,)),
    Strike(2_790, 2_801, "kill_supervisor", "one", hit=(1,)),  # it began while the death spread
])  # fmt: skip
def test_what_does_cut_jobs_is_a_reason(strike):
    history = good()
    history.strikes.insert(0, Strike(1_000, 1_001, "kill_worker", "one", hit=(1,)))
    history.strikes[1] = strike
    assert broken(history) == ""


def test_the_death_of_one_worker_cuts_one_job():
    history = good()
    history.cap = 2
    history.jobs[1] = replace(history.jobs[1], status="in_doubt")
    history.finals = []
    history.rows[1] = replace(history.rows[1], outcome="in_doubt", success=False, started_ms=3_000, finished_ms=3_400)
    history.counters = []
    assert broken(history) == "in doubt without a reason: job 2 (j2); nothing was killed while it ran"
    history.strikes = [replace(history.strikes[0], kind="kill_agent")]
    assert broken(history) == ""


def test_in_doubt_that_no_agent_knows_of():
    history = good()
    history.rows[2] = replace(history.rows[2], agent="one", outcome="expired")
    history.counters = []
    assert "in doubt without a reason: job 2 (j2); no agent says so" in broken(history)


@pytest.mark.parametrize("state", ["expired", "cancelled", "timed_out", "error"])
def test_an_end_nothing_explains(state):
    history = good()
    history.jobs[0] = replace(history.jobs[0], status=state, error="because")
    assert f"job 0 ended as {state}: because" in broken(history)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(200, ""), (202, ""), (409, "job 2 ended as cancelled: None"), (None, "job 2 ended as cancelled: None")],
)
def test_only_what_somebody_cancelled_in_time_may_be_cancelled(answer, sentence):
    history = good()
    history.jobs[2] = replace(history.jobs[2], status="cancelled", cancel=answer)
    history.rows[2] = replace(history.rows[2], outcome="cancelled")
    history.finals.pop()
    assert broken(history) == sentence


def test_a_cancelled_job_counts_as_executed_only_when_it_had_started():
    history = good()
    history.jobs[2] = replace(history.jobs[2], status="cancelled", cancel=200)
    history.rows[2] = replace(history.rows[2], outcome="cancelled", started_ms=None)
    history.finals.pop()
    assert "counters of agent one" in broken(history)
    history.counters = [Counters("one", 2, 0, 2, 0)]
    assert broken(history) == ""


def test_cancelled_here_and_a_success_on_the_agent_is_no_agreement():
    history = good()
    history.jobs[1] = replace(history.jobs[1], status="cancelled", cancel=202)
    history.finals.pop(1)
    assert broken(history) == "disagreement: job j1 succeeded on an agent and is cancelled here"


def speaking() -> History:
    history = good()
    history.jobs[1] = replace(history.jobs[1], printed=printed_by(1), live=printed_by(1), live_complete=True)
    return history


def test_what_was_printed_is_in_the_result_and_came_live():
    history = speaking()
    assert broken(history) == ""
    history.jobs[1] = replace(history.jobs[1], printed="begin 1\n")
    assert broken(history) == r"output: the result of job 1 (j1) holds 'begin 1\n'"


@pytest.mark.parametrize(("live", "complete"), [("begin 1\n", True), (printed_by(1), False)])
def test_live_output_with_a_hole_or_without_an_end(live, complete):
    history = speaking()
    history.jobs[1] = replace(history.jobs[1], live=live, live_complete=complete)
    assert "live output of job 1 (j1) is" in broken(history)


def test_a_repeated_run_is_seen_after_the_one_that_was_cut():
    history = speaking()
    history.jobs[1] = replace(history.jobs[1], live="begin 1\n" + printed_by(1))
    assert "live output of job 1" in broken(history)
    history.jobs[1] = replace(history.jobs[1], idempotent=True)
    assert broken(history) == ""


def test_a_full_disk_may_cost_live_output_but_not_its_end():
    history = speaking()
    history.jobs[1] = replace(history.jobs[1], live="begin 1\n[6 bytes]")
    history.strikes.append(Strike(1_000, 1_001, "fill_disk", "one", hit=(1,)))
    assert broken(history) == ""
    history.jobs[1] = replace(history.jobs[1], live_complete=False)
    assert "not complete" in broken(history)


def test_poison_is_an_honest_end_of_an_idempotent_job_only():
    history = good()
    history.rows[0] = replace(history.rows[0], success=False)
    history.counters, history.finals = [], []
    history.jobs[0] = replace(history.jobs[0], status="error", error="poison: 3 workers died", idempotent=True)
    assert broken(history) == ""
    history.jobs[0] = replace(history.jobs[0], idempotent=False)
    assert "ended as error: poison" in broken(history)


def test_both_sides_must_agree_on_success():
    history = good()
    history.rows[0] = replace(history.rows[0], success=False)
    assert "disagreement: job j0 is a success here and on no agent" in broken(history)
    history = good()
    history.rows[2] = replace(history.rows[2], success=True)
    assert "disagreement: job j2 succeeded on an agent and is in_doubt here" in broken(history)


@pytest.mark.parametrize("state", ["taken", "queued", "started", "done", "in_doubt"])
def test_a_row_that_is_not_settled(state):
    history = good()
    history.rows[0] = replace(history.rows[0], state=state)
    assert f"unsettled: job j0 is still {state}" in broken(history)


@pytest.mark.parametrize("counters", [
    Counters("one", 2, 1, 3, 1), Counters("one", 3, 0, 3, 1), Counters("one", 3, 1, 4, 1), Counters("one", 3, 1, None, None),
])  # fmt: skip
def test_counters_that_are_not_the_rows(counters):
    history = good()
    history.counters = [counters]
    assert "counters of agent one" in broken(history)


def test_leftovers_are_violations():
    history = good()
    history.leftovers = ["2 processes outlived their agents"]
    assert broken(history) == "2 processes outlived their agents"


@pytest.mark.parametrize(
    ("codes", "sentence"),
    [
        ([-9, -9, 0], ""),
        ([-9, 1, 0], "agent one ended by itself with [1]"),
        ([0, 0], "agent one ended by itself with [0]"),
        ([2, 0], "agent one ended by itself with [2]"),
        ([-9, -9], "agent one did not stop in good order: -9"),
    ],
)
def test_an_agent_ends_only_when_it_is_killed_or_told_to(codes, sentence):
    history = good()
    history.exits = {"one": codes}
    assert broken(history) == sentence


def test_an_agent_need_not_start_on_a_full_disk():
    history = good()
    history.exits = {"one": [-9, 2, 0]}
    history.strikes.append(Strike(4_000, 4_100, "fill_disk", "one", hit=(1,)))
    assert broken(history) == ""
