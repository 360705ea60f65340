import pytest

from easyalert.runtime import ProcessIdentity
from easyalert.spool import Frame, JobOfSpool
from easyalert.spool.frames import FRAME_MAX, HEADER_BYTES, end_frame, frame_length, header, job_frame, parse

JOB = JobOfSpool("job_1", 3, ProcessIdentity("boot", 12, 345))


def read(raw):
    head = raw[:HEADER_BYTES]
    assert frame_length(head) == len(raw) - HEADER_BYTES
    return parse(head, raw[HEADER_BYTES:])


def test_output_a_job_and_an_end_are_read_as_they_were_written():
    assert read(header("stderr", 2**40, 7, 3) + b"abc") == Frame("stderr", 2**40, 7, b"abc")
    assert read(job_frame(JOB)) == Frame(None, job=JOB)
    assert read(end_frame(5, 6)) == Frame(None, totals=(5, 6))
    assert read(job_frame(JobOfSpool("x", None, JOB.owner))).job.attempt is None


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\0" * HEADER_BYTES,
        header("stdout", 0, 0, 1)[:-1],
        header("stdout", 0, 0, FRAME_MAX + 1),
        header("stdout", 0, 0, 1)[:1] + b"\x09" + header("stdout", 0, 0, 1)[2:],
    ],
)
def test_what_is_no_frame_is_not_taken_for_one(head):
    assert frame_length(head) is None


def test_a_damaged_job_is_no_frame():
    raw = job_frame(JOB)
    assert parse(raw[:HEADER_BYTES], b'["x"]') is None
    assert parse(raw[:HEADER_BYTES], b"\xff") is None
