import pytest

from easyalert.journal.pause import Pause
from heartbeat.control import control_note, told_of

NOW = 1_800_000_000.0
ANSWER = {
    "cancelJobs": [{"jobId": "a", "attempt": 2}],
    "disabled": None,
    "drain": {"reason": "moves", "until": "whenever", "remainingSeconds": 90.4},
    "pollIntervalSeconds": 20,
}


def test_only_what_was_negotiated_is_heard():
    both = control_note(ANSWER, {"cancel", "control"}, NOW, None)
    assert both == {
        "disabled": None,
        "drain": {"reason": "moves", "until": NOW + 90},
        "pollIntervalSeconds": 20,
        "cancelJobs": [{"jobId": "a", "attempt": 2}],
    }
    assert control_note(ANSWER, {"cancel"}, NOW, None) == {"cancelJobs": [{"jobId": "a", "attempt": 2}]}
    assert control_note(ANSWER, {"ack", "longPoll"}, NOW, both) is None, "a plain server's agent forgets old orders"


def test_the_end_is_counted_from_here_whatever_the_other_clock_says():
    said = {"disabled": {"until": "1970-01-01T00:00:00Z", "remainingSeconds": 10}}
    assert control_note(said, {"control"}, NOW, None)["disabled"] == {"reason": None, "until": NOW + 10}
    assert control_note({"disabled": {"reason": "x"}}, {"control"}, NOW, None)["disabled"]["until"] is None


def test_an_answer_that_says_nothing_of_it_ends_the_orders():
    assert control_note({}, {"cancel", "control"}, NOW, {"drain": {}}) == {
        "disabled": None, "drain": None, "pollIntervalSeconds": None, "cancelJobs": []
    }  # fmt: skip


@pytest.mark.parametrize("answer", [None, [], {"drain": "yes"}, {"cancelJobs": [{"jobId": 1}]}])
def test_garbage_changes_nothing(answer):
    before = {"drain": {"reason": "moves", "until": None}}
    assert control_note(answer, {"control"}, NOW, before) == before
    assert control_note(answer, {"control"}, NOW, ()) is None


def test_a_pause_is_told_with_the_time_that_is_left():
    assert told_of(None, NOW) is None
    assert told_of(Pause("paused", "disk", None), NOW).wire() == {"reason": "disk"}
    assert told_of(Pause("paused", None, NOW + 60), NOW).wire() == {
        "reason": None, "until": "2027-01-15T08:01:00Z", "remainingSeconds": 60.0
    }  # fmt: skip
