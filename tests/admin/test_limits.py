from admin.limits import SlidingWindow
from tests.admin.conftest import Clock


def test_so_many_in_any_stretch_of_time_and_no_more():
    clock = Clock(0.0)
    window = SlidingWindow(3, 60, clock)
    assert window.take() is None
    clock.now = 30
    assert [window.take(), window.take()] == [None, None]
    assert window.take() == 30
    clock.now = 59.5
    assert window.take() == 1
    clock.now = 60
    assert window.take() is None
    assert window.take() == 30


def test_what_was_refused_does_not_count():
    clock = Clock(0.0)
    window = SlidingWindow(1, 60, clock)
    window.take()
    for _ in range(100):
        assert window.take() == 60
    clock.now = 60
    assert window.take() is None
