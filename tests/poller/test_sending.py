from __future__ import annotations

import base64

import pytest

from easyalert.protocol.limits import OUTPUT_REQUEST_MAX_BYTES
from easyalert.runtime import this_process
from easyalert.spool import JobOfSpool, SpoolWriter
from poller.sending import Sending


@pytest.fixture
def writer(tmp_path):
    return SpoolWriter(tmp_path, "k", JobOfSpool("job_1", 1, this_process()))


@pytest.fixture
def sending(tmp_path):
    return Sending("k", tmp_path / "k")


def feed(writer, *pieces):
    for stream, data in pieces:
        writer.feed(stream, data)
    writer.show()


def shown(batch):
    return [(c.seq, c.stream, c.offset, c.data) for c in batch.chunks]


def test_neighbours_of_one_stream_become_one_chunk(writer, sending):
    feed(writer, ("stdout", b"a\n"), ("stdout", b"b\n"), ("stderr", b"c\n"), ("stdout", b"d\n"))
    assert shown(sending.batch()) == [(0, "stdout", 0, b"a\nb\n"), (4, "stderr", 0, b"c\n"), (6, "stdout", 4, b"d\n")]
    assert sending.job.job_id == "job_1"


def test_the_same_again_until_it_is_answered(writer, sending):
    feed(writer, ("stdout", b"a\n"))
    first = sending.batch()
    assert shown(sending.batch()) == shown(first)
    assert sending.answered(first, 2)
    assert not sending.batch().read
    feed(writer, ("stdout", b"b\n"))
    assert shown(sending.batch()) == [(2, "stdout", 2, b"b\n")]


def test_what_the_control_plane_has_is_not_sent_again(writer, sending):
    feed(writer, ("stdout", b"abc"), ("stderr", b"xyz"))
    assert sending.answered(sending.batch(), 4)  # it had more than the beginning from an earlier poller
    assert shown(sending.batch()) == [(4, "stderr", 1, b"yz")]


def test_a_control_plane_that_lost_something_gets_it_again(writer, sending):
    feed(writer, ("stdout", b"abcdef"))
    assert sending.answered(sending.batch(), 6)
    feed(writer, ("stdout", b"gh"))
    assert not sending.answered(sending.batch(), 3)
    assert shown(sending.batch()) == [(3, "stdout", 3, b"defgh")]


def test_one_that_takes_nothing_is_noticed(writer, sending):
    feed(writer, ("stdout", b"abcdef"))
    assert not sending.answered(sending.batch(), 0)


def test_a_request_is_bounded(writer, sending):
    feed(writer, *[("stdout", b"y" * 65_536)] * 12)
    sizes = []
    while (batch := sending.batch()).read:
        assert batch.size <= OUTPUT_REQUEST_MAX_BYTES
        assert all(len(base64.b64decode(c.wire()["data"])) <= 65_536 for c in batch.chunks)
        sizes.append(batch.size)
        sending.answered(batch, batch.end)
    assert sum(sizes) == 12 * 65_536
    assert len(sizes) > 2


def test_the_end_comes_with_the_last_piece_and_the_exact_sizes(writer, sending):
    feed(writer, ("stdout", b"abc"), ("stderr", b"x"))
    assert sending.batch().totals is None
    writer.close()
    batch = sending.batch()
    assert (batch.totals.stdout, batch.totals.stderr) == (3, 1)
    assert len(batch.chunks) == 2
    sending.answered(batch, 4)
    assert sending.batch().totals is not None  # nothing left but the end: said again if the answer was lost


def test_the_end_of_a_long_output_waits_for_its_last_piece(writer, sending):
    feed(writer, *[("stdout", b"y" * 65_536)] * 5)
    writer.close()
    batch = sending.batch()
    assert batch.totals is None
    sending.answered(batch, batch.end)
    assert sending.batch().totals is not None
