import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from easyalert.journal import job_key
from easyalert.journal.rows import OUTBOX, State
from tests.easyalert.journal.conftest import new_job

ids = st.one_of(
    st.text(alphabet="ax-_1Ä\n \ud800", max_size=8),
    st.from_regex(r"[a-z]{1,3}(--\d{1,2})?", fullmatch=True),
    st.text(max_size=100),
)
attempts = st.one_of(st.none(), st.integers(min_value=0, max_value=12))


def hand_out(job_id, attempt):
    """No attempt is attempt 1."""
    return job_id, 1 if attempt is None else attempt


@given(ids, attempts, ids, attempts)
@example("a", 2, "a--2", None)
@example("a--2", 3, "a", 23)
@example("a-", 2, "a", None)
@example("ü", 0, "ü", 1)
@example("x-1", None, "x", 1)
@example("a\n", None, "a", None)
def test_keys_are_injective_and_fit_rq(one, its_attempt, other, others_attempt):
    key = job_key(one, its_attempt)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,100}", key)
    same = hand_out(one, its_attempt) == hand_out(other, others_attempt)
    assert (key == job_key(other, others_attempt)) is same


@pytest.mark.parametrize(
    ("job_id", "attempt", "key"),
    [("job_01HZX", None, "job_01HZX"), ("job_01HZX", 1, "job_01HZX"), ("job_01HZX", 2, "job_01HZX--2")],
)
def test_ordinary_ids_stay_readable(job_id, attempt, key):
    assert job_key(job_id, attempt) == key


def test_keys_are_stable_over_versions():
    """They are stored in Redis and in the journal: a change would make known jobs unknown."""
    assert job_key("job 1", 2) == "x-d33fb821143bc21bb59668df506f754c8d33561d"
    assert job_key("job 1") == job_key("job 1", 1) == "x-5b70fe3197ccc76fa98ceb4a278b26959c605cfd"


def test_the_description_is_short_and_holds_no_parameter(machine):
    journal = machine.journal()
    journal.take([new_job("j" * 300)])
    (row,) = journal.latest()
    assert row.description.startswith("script.bash jjj")
    assert len(row.description) == 120


def test_milliseconds_since_receipt_are_never_negative(machine):
    journal = machine.journal()
    journal.take([new_job()])
    (row,) = journal.latest()
    assert row.since_received(row.received_ms - 5, machine.boot) == 0
    assert row.since_received(row.received_ms + 7, machine.boot) == 7
    assert row.since_received(None, machine.boot) is None
    assert row.since_received(row.received_ms, "another boot") is None


def test_the_outbox_is_what_has_ended_and_is_not_settled():
    assert set(OUTBOX) == {State.DONE, State.IN_DOUBT, State.CANCELLED, State.EXPIRED}
