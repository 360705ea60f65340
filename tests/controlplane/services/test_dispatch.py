import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.services.dispatch import HEAD_START_S, Candidate, Waiting, explain, plan

NOW = 1000.0


def candidate(name, **more):
    known = {"status": "online", "score": 100.0, "free": 1, "capacity": 5, "waiting_since": 0.0, "polling": True}
    return Candidate(agent_id=name, name=name, **{**known, **more})


def job(job_id="j", *, since=NOW, category="script", target=None):
    return Waiting(job_id, category, since, target)


def winners(jobs, candidates, now=NOW):
    return [(j.job_id, c.agent_id) for j, c, _ in plan(jobs, candidates, now).assigned]


def test_highest_score_wins():
    assert winners([job()], [candidate("a", score=60), candidate("b", score=90), candidate("c", score=80)]) == [
        ("j", "b")
    ]


def test_equal_scores_go_to_most_free_capacity_then_to_the_longest_wait():
    assert winners([job()], [candidate("a", free=2), candidate("b", free=3), candidate("c", free=1)]) == [("j", "b")]
    waits = [candidate("a", waiting_since=30), candidate("b", waiting_since=10), candidate("c", waiting_since=20)]
    assert winners([job()], waits) == [("j", "b")]


def test_capacity_is_used_up_and_spreads_equal_agents():
    found = winners([job(str(n)) for n in range(5)], [candidate("a", free=2), candidate("b", free=2)])
    assert sorted(agent for _, agent in found) == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    "unfit",
    [
        {"status": "offline"},
        {"blocked": "disabled"},
        {"blocked": "draining until tomorrow"},
        {"free": 0},
        {"capabilities": frozenset({"http"})},
    ],
)
def test_unfit_agents_get_nothing_however_healthy(unfit):
    assert winners([job()], [candidate("a", score=100, **unfit), candidate("b", score=1)]) == [("j", "b")]
    assert winners([job()], [candidate("a", **unfit)]) == []


def test_degraded_agents_are_still_online():
    assert winners([job()], [candidate("a", status="degraded", score=55)]) == [("j", "a")]


@pytest.mark.parametrize("category", ["connection", "system"])
def test_built_in_actions_need_no_executor(category):
    assert winners([job(category=category)], [candidate("a", capabilities=frozenset())]) == [("j", "a")]


def test_a_job_for_one_agent_goes_to_no_other():
    assert winners([job(target="b")], [candidate("a", score=100), candidate("b", score=10)]) == [("j", "b")]
    assert winners([job(target="c")], [candidate("a")]) == []


def test_the_healthiest_is_waited_for_a_short_time_when_it_is_not_polling():
    fleet = [candidate("best", polling=False, expected=True), candidate("next", score=70)]
    early = plan([job()], fleet, NOW + HEAD_START_S - 0.01)
    assert early.assigned == []
    assert early.retry_at == NOW + HEAD_START_S
    fleet = [candidate("best", polling=False, expected=True), candidate("next", score=70)]
    assert winners([job()], fleet, NOW + HEAD_START_S) == [("j", "next")]


def test_a_kept_job_uses_the_capacity_it_is_kept_for():
    fleet = [candidate("best", polling=False, expected=True, free=1), candidate("next", score=70)]
    assert winners([job("1"), job("2")], fleet) == [("2", "next")]


def test_an_agent_that_has_not_polled_for_a_while_is_not_waited_for():
    assert winners([job()], [candidate("silent", polling=False), candidate("next", score=70)]) == [("j", "next")]


def test_nobody_polling_means_no_appointment():
    assert plan([job()], [candidate("a", polling=False, expected=True)], NOW).retry_at is None


def test_why_names_the_chosen_and_what_the_others_lacked():
    fleet = [
        candidate("a", score=88),
        candidate("b", score=61),
        candidate("c", status="offline", silent=" since noon"),
        candidate("d", free=0),
        candidate("e", capabilities=frozenset({"http"})),
        candidate("f", blocked="draining (patch day)"),
    ]
    ((_, chosen, why),) = plan([job()], fleet, NOW).assigned
    assert chosen.name == "a"
    assert why["sentence"].startswith("a ranked first")
    assert {row["name"]: row["verdict"] for row in why["candidates"]} == {
        "a": "chosen",
        "b": "score 61 < 88",
        "c": "offline since noon",
        "d": "busy 5/5",
        "e": "lacks capability script",
        "f": "draining (patch day)",
    }


def test_why_a_job_waits():
    assert "no agent yet" in explain(job(), [])["sentence"]
    waiting = explain(job(), [candidate("a", status="offline", silent=", never seen")])
    assert "a: offline, never seen" in waiting["sentence"]
    assert "no longer exists" in explain(job(target="gone"), [candidate("a")])["sentence"]
    assert "about to be given" in explain(job(), [candidate("a")])["sentence"]


def test_why_is_bounded_for_large_pools():
    why = explain(job(), [candidate(str(n)) for n in range(300)])
    assert len(why["candidates"]) == 20
    assert why["candidatesTotal"] == 300


candidates = st.builds(
    candidate,
    name=st.uuids().map(str),
    score=st.sampled_from([0.0, 50.0, 100.0]),
    free=st.integers(0, 3),
    waiting_since=st.floats(0, 10),
    polling=st.booleans(),
    expected=st.booleans(),
    status=st.sampled_from(["online", "degraded", "offline"]),
)


@given(st.lists(candidates, max_size=6), st.integers(0, 8), st.floats(0, 5))
def test_no_job_twice_no_agent_over_its_capacity_only_polling_ones(fleet, count, age):
    free = {c.agent_id: c.free for c in fleet}
    found = plan([job(str(n)) for n in range(count)], fleet, NOW + age).assigned
    ids = [j.job_id for j, _, _ in found]
    assert len(ids) == len(set(ids))
    for agent_id, room in free.items():
        assert sum(c.agent_id == agent_id for _, c, _ in found) <= room
    assert all(c.polling and c.status != "offline" for _, c, _ in found)


@given(st.lists(candidates, min_size=1, max_size=6), st.integers(1, 8))
def test_after_the_head_start_no_job_starves_beside_a_free_polling_agent(fleet, count):
    plan([job(str(n)) for n in range(count)], fleet, NOW)  # whatever was kept before
    for c in fleet:
        c.free = 1
    able = [c for c in fleet if c.polling and c.status != "offline"]
    found = plan([job("late", since=NOW - HEAD_START_S)], fleet, NOW).assigned
    assert len(found) == (1 if able else 0)
