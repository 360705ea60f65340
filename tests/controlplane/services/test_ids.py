import re

import pytest

from controlplane.services.ids import new_id, split_wire_job_id, wire_job_id


def test_ids_sort_by_time_and_fit_a_queue():
    ids = [new_id("job", 1_800_000_000 + n / 1000) for n in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert all(re.fullmatch(r"job_[0-9A-Z]{26}", found) for found in ids)


def test_every_attempt_of_a_base_agent_has_an_id_of_its_own():
    job_id = new_id("job", 1.0)
    wire = [wire_job_id(job_id, attempt) for attempt in (1, 2, 3)]
    assert wire[0] == job_id
    assert len(set(wire)) == 3
    assert [split_wire_job_id(w) for w in wire] == [(job_id, None), (job_id, 2), (job_id, 3)]


@pytest.mark.parametrize("odd", ["", "-", "a-b", "x-²", "x-", "x-1234567890", "job"])
def test_foreign_ids_are_taken_whole(odd):
    assert split_wire_job_id(odd) == (odd, None)
