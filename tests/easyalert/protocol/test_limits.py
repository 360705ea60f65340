import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.protocol import limits
from easyalert.protocol.limits import job_timeout_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 300),
        (60, 60),
        ("60", 60),
        (" 60 ", 60),
        (59.9, 59),
        ("59.9", 59),
        (5, 5),
        (4.99, 5),
        (0, 5),
        (-10, 5),
        ("-10", 5),
        (3600, 3600),
        (3601, 3600),
        ("1e3", 1000),
        (10**400, 300),
        (float("inf"), 300),
        ("inf", 300),
        (float("nan"), 300),
        ("nan", 300),
        ("", 300),
        ("ten", 300),
        (True, 300),
        (False, 300),
        ([60], 300),
        ({"timeout": 60}, 300),
        (b"60", 300),
    ],
)
def test_the_time_limit_of_a_job(value, seconds):
    assert job_timeout_seconds(value) == seconds


@given(st.one_of(st.integers(), st.floats(), st.text(), st.none(), st.booleans(), st.lists(st.integers())))
def test_the_clamp_always_holds(value):
    seconds = job_timeout_seconds(value)
    assert isinstance(seconds, int)
    assert 5 <= seconds <= 3600


def test_the_numbers_of_the_contract():
    assert limits.JOB_PARAMS_MAX_CHARS == 10 * 1024 * 1024
    assert limits.OUTPUT_STREAM_MAX_CHARS == 1024 * 1024
    assert limits.ERROR_MAX_CHARS == 500
    assert limits.MAX_CONCURRENT_JOBS_MAX == 50
    assert limits.OFFLINE_AFTER_S == 90
