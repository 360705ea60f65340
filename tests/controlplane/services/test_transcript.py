from __future__ import annotations

import pytest

from controlplane.services.transcript import Piece, Transcript, plain_text


def texts(lines):
    return [(line.stream, line.text or line.missing) for line in lines]


def test_a_character_cut_between_two_pieces_comes_out_whole():
    first, second = "aé".encode()[:2], "aé".encode()[2:]
    transcript = Transcript()
    pieces = [Piece("stdout", 0, 0, first), Piece("stderr", 2, 0, b"x"), Piece("stdout", 3, 2, second)]
    assert texts(transcript.feed(pieces)) == [("stdout", "a"), ("stderr", "x"), ("stdout", "é")]
    assert transcript.finish({"stdout": 3, "stderr": 1}) == []


def test_what_is_no_text_is_replaced():
    assert texts(Transcript().feed([Piece("stdout", 0, 0, b"a\xff\xfeb")])) == [("stdout", "a\ufffd\ufffdb")]


def test_half_a_character_at_the_end_or_before_a_gap_is_replaced():
    transcript = Transcript()
    lines = list(transcript.feed([Piece("stdout", 0, 0, b"a\xc3"), Piece("stdout", 10, 10, b"b\xc3")]))
    assert texts(lines) == [("stdout", "a"), ("stdout", "\ufffd"), ("stdout", 8), ("stdout", "b")]
    assert texts(transcript.finish({"stdout": 20, "stderr": 0})) == [("stdout", "\ufffd"), ("stdout", 8)]


def test_what_was_fed_is_passed_over():
    transcript = Transcript()
    list(transcript.feed([Piece("stdout", 0, 0, b"abc")]))
    assert texts(transcript.feed([Piece("stdout", 0, 0, b"abcde")])) == [("stdout", "de")]


@pytest.mark.parametrize("after", range(13))
def test_whoever_comes_back_gets_exactly_the_rest(after):
    """Cut anywhere, also within a character: what was told up to the number, and what follows it, are everything."""
    whole = "añ\u20acz".encode()
    pieces = [Piece("stdout", 0, 0, whole[:3]), Piece("stderr", 3, 0, b"err"), Piece("stdout", 6, 3, whole[3:])]
    first = list(Transcript().feed(pieces))
    told = [line for line in first if line.end <= after]
    number = max((line.end for line in told), default=0)
    rest = list(Transcript().feed(pieces, number))
    assert plain_text([*told, *rest], "stdout") == whole.decode()
    assert plain_text([*told, *rest], "stderr") == "err"


def test_a_run_that_has_grown_since_is_told_from_where_the_reader_was():
    grown = [Piece("stdout", 0, 0, b"one two")]
    assert texts(Transcript().feed(grown, 3)) == [("stdout", " two")]


def test_plain_text_says_what_is_missing():
    lines = list(Transcript().feed([Piece("stdout", 0, 0, b"a"), Piece("stdout", 6, 6, b"b")]))
    assert plain_text(lines, None) == "a\n[... 5 bytes of stdout left out ...]\nb"
    assert plain_text(lines, "stderr") == ""
    assert lines[1].view() == {"stream": "stdout", "seq": 6, "offset": 1, "missingBytes": 5} | {"seq": lines[1].seq}
