from __future__ import annotations

import itertools
import os

import pytest

from easyalert.spool import SpoolReader


def stdout(frames):
    return b"".join(frame.data for frame in frames if frame.stream == "stdout")


def test_nothing_printed_leaves_nothing(make, folder):
    make().close()
    assert not folder.exists()


def test_what_was_printed_is_there_at_once_numbered_through_both_streams(make, everything):
    writer = make()
    writer.feed("stdout", b"one\n")
    writer.feed("stderr", b"two\n")
    writer.show()
    frames = everything()
    assert frames[0].job.job_id == "job_1"
    assert [(f.stream, f.seq, f.offset, f.data) for f in frames[1:]] == [
        ("stdout", 0, 0, b"one\n"),
        ("stderr", 4, 0, b"two\n"),
    ]
    writer.close()
    assert everything()[-1].totals == (4, 4)


def test_only_the_agents_account_may_read_it(make, folder):
    writer = make()
    writer.feed("stdout", b"x")
    writer.show()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "k").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (folder / "k").iterdir()} == {0o600}
    writer.close()


def test_a_job_that_ends_before_it_is_shown_leaves_nothing(make, folder):
    writer = make()
    writer.feed("stdout", b"x" * 5000)
    writer.close()
    assert list(folder.iterdir()) == []


def test_beginning_and_end_are_kept_and_the_disk_holds_no_more(make, folder, everything):
    writer = make()
    printed = b"".join(b"%07d\n" % number for number in range(20_000))
    for start in range(0, len(printed), 500):
        writer.feed("stdout", printed[start : start + 500])
        if writer.begun:
            writer.show()
        held = sum(file.stat().st_size for file in (folder / "k").iterdir())
        assert held < 3 * (4096 + 4096)
    writer.close()
    frames = [frame for frame in everything() if frame.stream]
    gap = [(a, b) for a, b in itertools.pairwise(frames) if a.end != b.seq]
    assert len(gap) == 1
    (before, after) = gap[0]
    assert before.end >= 4096
    assert len(printed) - after.seq >= 4096
    for frame in frames:
        assert printed[frame.offset : frame.offset + len(frame.data)] == frame.data
    assert frames[-1].end == len(printed)
    assert everything()[-1].totals == (len(printed), 0)


def test_large_pieces_are_cut(make, everything):
    writer = make(head=1_000_000)
    writer.feed("stdout", b"y" * 200_000)
    writer.show()
    assert max(len(frame.data) for frame in everything()) == 65_536
    assert stdout(everything()) == b"y" * 200_000
    writer.close()


def test_a_second_run_of_the_same_job_goes_on_after_a_dead_one(make, everything, folder):
    dead = make()
    dead.feed("stdout", b"before\n")
    dead.show()
    dead._close_segment()  # as SIGKILL does
    with (folder / "k" / "0000000001").open("ab") as file:
        file.write(b"\xea\x01\0")  # a torn frame
    again = make()
    again.feed("stdout", b"after\n")
    assert again.shown
    again.close()
    frames = everything()
    assert stdout(frames) == b"before\nafter\n"
    assert [f.seq for f in frames if f.stream] == [0, 7]
    assert sum(f.job is not None for f in frames) == 2
    assert frames[-1].totals == (13, 0)
    os.close(dead._place)


def test_a_full_disk_costs_only_the_output_meanwhile(make, everything, monkeypatch, caplog):
    writer = make()
    writer.feed("stdout", b"one")
    writer.show()
    real = os.writev

    def half(descriptor, parts):
        return real(descriptor, [b"".join(parts)[:5]])

    def full(_descriptor, _parts):
        raise OSError(28, "No space left on device")

    for failing in (half, full):
        monkeypatch.setattr(os, "writev", failing)
        writer.feed("stdout", b"lost")
        writer._not_before = 0.001
    monkeypatch.setattr(os, "writev", real)
    writer.feed("stdout", b"two")
    writer.close()
    frames = [frame for frame in everything() if frame.stream]
    assert [(f.offset, f.data) for f in frames] == [(0, b"one"), (11, b"two")]
    assert "job_1 has gaps" in caplog.text


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(make, folder):
    folder.write_text("in the way")
    writer = make()
    for _ in range(3):
        writer.feed("stdout", b"x")
    writer.show()
    writer.close()
    assert SpoolReader(folder / "k").sizes() == {"stdout": 0, "stderr": 0}


@pytest.mark.parametrize("shown", [True, False])
def test_a_spool_that_was_removed_meanwhile_hurts_nobody(make, folder, shown):
    writer = make()
    writer.feed("stdout", b"x")
    if shown:
        writer.show()
    for file in (folder / ("k" if shown else ".k")).iterdir():
        file.unlink()
    (folder / ("k" if shown else ".k")).rmdir()
    writer.feed("stdout", b"y" * 5000)
    writer.close()
    assert list(folder.iterdir()) == []
