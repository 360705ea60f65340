from __future__ import annotations

import threading

import pytest

from easyalert.errors import JournalFull
from easyalert.journal import Journal, reserve
from easyalert.journal.reserve import LOG_BYTES, RESERVE_BYTES, SMALL_BYTES, Reserve


def test_it_is_really_allocated_and_the_log_is_long_from_the_start(tmp_path):
    path = tmp_path / "journal.sqlite3"
    assert not Reserve(path).keep(), "no journal is open"
    with Journal(path) as journal:
        assert journal.reserve.keep()
        for name, size in (("reserve", RESERVE_BYTES), ("journal.sqlite3-wal", LOG_BYTES)):
            found = (tmp_path / name).stat()
            assert found.st_size == size
            assert found.st_blocks * 512 >= size
            assert found.st_mode & 0o777 == 0o600


def test_the_journal_is_the_same_with_a_long_log(tmp_path):
    path = tmp_path / "journal.sqlite3"
    with Journal(path) as journal, Journal(path) as other:
        journal.leave_note("before", 1)
        journal.reserve.keep()
        journal.leave_note("after", "x" * 10_000)
        assert other.note("before") == 1
        assert other.note("after") == "x" * 10_000
        log = (tmp_path / "journal.sqlite3-wal").read_bytes()
        copy = tmp_path / "copy.sqlite3"
        copy.write_bytes(path.read_bytes())
        copy.with_name("copy.sqlite3-wal").write_bytes(log)
    with Journal(copy) as found:  # as after a crash: the log is read anew
        assert (found.note("before"), found.note("after")) == (1, "x" * 10_000)


def test_it_is_not_made_of_the_last_space(tmp_path, monkeypatch):
    monkeypatch.setattr(reserve, "_LEFT_BYTES", 1 << 60)
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert not journal.reserve.keep()
        assert not journal.reserve.give_back()


def test_pieces_are_given_back_until_nothing_is_left_by_several_at_once(tmp_path):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        journal.reserve.keep()
        assert not journal.reserve.give_back(SMALL_BYTES + 1), "a large write is cut first"
        given: list[bool] = []

        def take() -> None:
            while Reserve(journal.path).give_back():
                given.append(True)

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == RESERVE_BYTES // (128 * 1024)
        assert (tmp_path / "reserve").stat().st_size == 0
        assert journal.reserve.keep(), "made again"


def test_a_large_result_leaves_room_for_small_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(reserve, "_SHORT_BYTES", 1 << 60)
    with Journal(tmp_path / "journal.sqlite3") as journal:
        with pytest.raises(JournalFull):
            journal._leave_room(LOG_BYTES)
        journal._leave_room(1_000_000)
        journal._leave_room(10)
        assert journal.reserve.short()
