"""One line."""

import json
from pathlib import Path

import pytest

from easyalert.audit import Entry, Head, verify
from easyalert.audit.record import LINE_MAX_BYTES, Mark, line_of, parse_line
from tests.easyalert.audit.conftest import the_file

DRIVER = Path(__file__).with_name("audit_driver.py")
ROOT = DRIVER.parents[3]


def test_nothing_that_comes_from_outside_makes_a_line_too_long_or_breaks_one(folder, log):
    fields = {"jobId": "x" * 10**6, "by": "\n\x00\ud800" * 500, "note": {"a": ["b"] * 10_000}}
    log.append([Entry(0, "job.ended", fields)])
    assert all(len(line) < LINE_MAX_BYTES for line in the_file(folder).read_bytes().split(b"\n"))
    assert verify(folder).broken is None


def test_many_long_texts_of_wide_characters_are_cut_shorter(folder, log):
    names = ("jobId", "action", "connectionId", "requestedBy", "policy", "signature")
    log.append([Entry(0, "job.started", dict.fromkeys(names, "💡" * 300))])
    (line, _) = the_file(folder).read_bytes().split(b"\n")
    assert len(line) < LINE_MAX_BYTES
    assert parse_line(line)["requestedBy"] == "💡" * 40
    assert verify(folder).broken is None


def test_fields_cannot_pass_for_the_chains_own(folder, log):
    log.append([Entry(0, "job.ended", {"seq": 99, "kind": "other", "prev": "x", "hash": "x", "mark": "x"})])
    assert verify(folder).broken is None
    assert verify(folder).last.seq == 1


@pytest.mark.parametrize("text", ["", "1", "1:", "x:" + "0" * 64, "1:" + "g" * 64, "1:" + "0" * 63, "-1:" + "0" * 64])
def test_an_anchor_is_a_number_and_a_hash(text):
    assert Head.read(text) is None
    assert Head.read("7:" + "a" * 64) == Head(7, "a" * 64)


def test_marks_are_read_as_they_are_written():
    assert Mark.read(str(Mark("ab", 7))) == Mark("ab", 7)
    assert [Mark.read(text) for text in (None, 7, "", "ab", ":7", "ab:", "ab:x")] == [None] * 7


def test_what_is_no_line_is_not_parsed():
    line = line_of(Entry(0, "x"), None)[0].rstrip(b"\n")
    assert parse_line(line)["seq"] == 1
    document = json.loads(line)
    for wrong in (b"", b"[]", b"\xff", b"[" * 10_000, json.dumps({**document, "seq": True}).encode(), line + b" "):
        assert parse_line(wrong) is None
