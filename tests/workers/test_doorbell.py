import select

from easyalert.wakeup import notify
from workers.doorbell import Doorbell


def test_a_ring_is_heard_and_silenced(short_dir):
    with Doorbell(short_dir / "w.sock") as bell:
        notify(short_dir / "w.sock")
        notify(short_dir / "w.sock")
        assert select.select(bell.filenos(), [], [], 5)[0]
        bell.silence()
        assert not select.select(bell.filenos(), [], [], 0)[0]
        assert (short_dir / "w.sock").stat().st_mode & 0o777 == 0o600


def test_a_successor_takes_the_place_of_a_dead_ones_socket(short_dir):
    with Doorbell(short_dir / "w.sock"), Doorbell(short_dir / "w.sock") as second:
        notify(short_dir / "w.sock")
        assert select.select(second.filenos(), [], [], 5)[0]


def test_without_a_place_for_the_socket_nobody_can_ring(short_dir, caplog):
    with Doorbell(short_dir / "missing" / "w.sock") as bell:
        assert bell.filenos() == []
        bell.silence()
    assert "up to 2 s longer" in caplog.text
