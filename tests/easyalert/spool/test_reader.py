from __future__ import annotations

import os
import time

from easyalert.spool import Place, SpoolReader, hidden_spools, remove_spool, show_spool, shown_spools


def test_a_place_goes_on_where_it_was(make, folder):
    writer = make()
    reader, place = SpoolReader(folder / "k"), Place()
    assert reader.read(place, 100) == ([], place)
    got = b""
    for number in range(3000):
        writer.feed("stdout", b"%d," % number)
        writer.show()
        if number % 7 == 0:
            frames, place = reader.read(place, 50)
            got += b"".join(f.data for f in frames if f.stream)
    while frames := (found := reader.read(place, 50))[0]:
        place = found[1]
        got += b"".join(f.data for f in frames)
    writer.close()
    assert got.startswith(b"0,1,2,")
    assert got.endswith(b"2998,2999,")


def test_what_is_dropped_while_reading_is_passed_over(make, folder):
    writer = make(head=0)
    writer.feed("stdout", b"a" * 1500)
    writer.show()
    reader = SpoolReader(folder / "k")
    _, place = reader.read(Place(), 1)
    for _ in range(30):
        writer.feed("stdout", b"b" * 1000)
    frames, _ = reader.read(place, 10**6)
    assert frames[0].seq > 1500
    assert frames[-1].end == 31_500
    writer.close()


def test_a_frame_that_is_not_whole_yet_is_not_read(make, folder):
    writer = make()
    writer.feed("stdout", b"abc")
    writer.show()
    segment = folder / "k" / "0000000001"
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1])
    reader = SpoolReader(folder / "k")
    frames, place = reader.read(Place(), 100)
    assert [f.data for f in frames if f.stream] == []
    segment.write_bytes(whole)
    assert [f.data for f in reader.read(place, 100)[0]] == [b"abc"]
    writer.close()


def test_sizes_count_what_was_dropped(make, folder):
    writer = make(head=0)
    for _ in range(30):
        writer.feed("stdout", b"b" * 1000)
    writer.feed("stderr", b"e")
    writer.show()
    assert SpoolReader(folder / "k").sizes() == {"stdout": 30_000, "stderr": 1}
    writer.close()


def test_hidden_ones_are_found_by_age_and_shown(make, folder):
    assert shown_spools(folder) == hidden_spools(folder, 0) == []
    writer = make()
    writer.feed("stdout", b"x")
    assert shown_spools(folder) == []
    assert hidden_spools(folder, 60) == []
    old = time.time() - 100
    os.utime(folder / ".k", (old, old))
    assert hidden_spools(folder, 60) == ["k"]
    show_spool(folder, "k")
    show_spool(folder, "never-there")
    assert shown_spools(folder) == ["k"]
    remove_spool(folder / "k")
    remove_spool(folder / "k")
    assert shown_spools(folder) == []
