from __future__ import annotations

import itertools

import pytest

from chaos.nemesis import PROGRAMS, plan


def test_the_same_seed_gives_the_same_faults():
    assert plan(7, 300, agents=2) == plan(7, 300, agents=2)


def test_another_seed_gives_others():
    assert plan(7, 300) != plan(8, 300)


def test_a_longer_run_begins_as_the_shorter_one_in_its_quiet_parts():
    short, long = plan(3, 60), plan(3, 120)
    assert long[: len(short)] == short


def test_leaving_a_kind_out_changes_no_other_fault():
    everything = plan(5, 120)
    assert plan(5, 120, without=("fill_disk", "toxic", "partition")) == [
        fault for fault in everything if fault.kind not in {"fill_disk", "toxic", "partition"}
    ]


@pytest.mark.parametrize("seed", range(5))
def test_faults_come_in_bursts_of_one_every_tenth_to_half_second(seed):
    moments = [fault.at for fault in plan(seed, 300)]
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert min(gaps) >= 0.099
    within = [gap for gap in gaps if gap < 0.51]
    quiet = [gap for gap in gaps if gap >= 0.51]
    assert len(within) > 4 * len(quiet)
    assert min(quiet) >= 2.5
    assert moments[0] > 0
    assert moments[-1] < 300


@pytest.mark.parametrize("seed", range(3))
def test_kills_come_without_quiet_and_alone(seed):
    faults = plan(seed, 120, agents=3, mix="kills")
    gaps = [after.at - before.at for before, after in itertools.pairwise(faults)]
    assert min(gaps) > 0.099
    assert max(gaps) < 0.51
    assert {fault.kind for fault in faults} == {"kill_worker", "kill_program", "kill_supervisor", "kill_agent"}
    assert all(fault.hold == 0 and fault.toxic is None for fault in faults)
    assert 118 < faults[-1].at < 120


def test_every_kind_strikes_every_agent_and_says_what_it_needs():
    faults = plan(1, 3_000, agents=2)
    kinds = {fault.kind for fault in faults}
    assert {(fault.kind, fault.agent) for fault in faults} == {(kind, agent) for kind in kinds for agent in (0, 1)}
    assert len(kinds) == 13
    for fault in faults:
        assert (fault.toxic is not None) == (fault.kind in {"toxic", "partition"})
        assert (fault.program in PROGRAMS) == (fault.kind in {"kill_program", "pause_program"})
        assert 0 <= fault.pick < 1
        assert (fault.step != 0) <= (fault.kind in {"step_clock", "suspend"})
    steps = [fault.step for fault in faults if fault.kind == "step_clock"]
    assert min(steps) < -3_000
    assert max(steps) > 3_000
