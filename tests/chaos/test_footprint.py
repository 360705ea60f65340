from __future__ import annotations

from dataclasses import replace

import pytest

from chaos.footprint import CONTROL_PLANE, Footprint, Growth, grown, grown_over_faults

ALLOWED = Growth(memory_mb=10.0, open_files=4, files=2)
BEFORE = Footprint("one", memory_mb=100.0, processes=9, open_files=50, files=20)


def said(**now) -> str:
    return " / ".join(grown([BEFORE], [replace(BEFORE, **now)], ALLOWED, "meanwhile"))


def test_what_stays_within_its_bounds_is_not_mentioned():
    assert said(memory_mb=110.0, open_files=54, files=22, processes=14) == ""


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        ({"memory_mb": 110.1}, "memory of one grew meanwhile: from 100.0 MB to 110.1 MB"),
        ({"open_files": 55}, "open files of one grew meanwhile: from 50 to 55"),
        ({"files": 23}, "files of one grew meanwhile: from 20 to 23"),
    ],
)
def test_what_grows_beyond_them_is(now, sentence):
    assert said(**now) == sentence


def test_who_was_not_there_before_cannot_have_grown():
    assert list(grown([], [BEFORE], ALLOWED, "meanwhile")) == []


def test_the_control_plane_may_need_more_than_an_agent_once_everybody_came_at_once():
    before = [BEFORE, replace(BEFORE, name=CONTROL_PLANE)]
    after = [replace(footprint, memory_mb=150.0) for footprint in before]
    assert list(grown_over_faults(before, after)) == ["memory of one grew over the faults: from 100.0 MB to 150.0 MB"]
    assert len(list(grown_over_faults(before, [replace(now, memory_mb=200.0) for now in after]))) == 2
