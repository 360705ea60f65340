import pytest

from easyalert.protocol.ids import is_job_id, new_id


def test_ids_sort_by_time_and_are_known_again():
    earlier, later = new_id("job", 1_700_000_000.0), new_id("job", 1_700_000_001.0)
    assert earlier < later
    assert is_job_id(earlier)
    assert new_id("job", 1.0) != new_id("job", 1.0)


@pytest.mark.parametrize(
    "text", ["", "job_1", "agt_" + "0" * 26, "job_" + "0" * 25 + "I", "job_" + "0" * 26 + "\n", "job_" + "0" * 27]
)
def test_what_is_no_job_id(text):
    assert not is_job_id(text)
