import time

from controlplane.clock import SystemClock, rfc3339


def test_times_are_written_in_utc_with_milliseconds():
    assert rfc3339(None) is None
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(1_800_000_000.1234) == "2027-01-15T08:00:00.123Z"


def test_a_step_of_the_wall_clock_does_not_move_ours(monkeypatch):
    clock = SystemClock()
    before = clock.now()
    assert abs(before - time.time()) < 5
    monkeypatch.setattr(time, "time", lambda: before + 3600)
    assert 0 <= clock.now() - before < 5
