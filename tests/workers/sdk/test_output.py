import itertools
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.sdk.output import BoundedOutput, command_output

GAP = re.compile(r"\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n")


def fed(chunks, limit):
    output = BoundedOutput(limit)
    for chunk in chunks:
        output.feed(chunk)
    return output


def pieces(data, cuts):
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


texts = st.text(alphabet=st.sampled_from("ab\nü€😀"), max_size=400)
cuts = st.lists(st.integers(0, 2000), max_size=12)
limits = st.integers(0, 120)


@given(texts, cuts, limits)
def test_head_and_tail_are_kept_and_the_sum_is_right(text, where, limit):
    data = text.encode()
    output = fed(pieces(data, where), limit)
    assert output.size == len(data)
    assert output.truncated is (len(data) > limit)
    shown = output.text()
    if not output.truncated:
        assert shown == text
        return
    match = GAP.search(shown)
    head, tail = shown[: match.start()], shown[match.end() :]
    assert text.startswith(head), "no half character, nothing invented"
    assert text.endswith(tail)
    assert len(head.encode()) + int(match[1]) + len(tail.encode()) == len(data)
    assert len(head.encode()) + len(tail.encode()) <= limit
    assert len(head.encode()) + len(tail.encode()) >= limit - limit // 8 - 7


@given(st.binary(max_size=300), cuts, cuts, limits)
def test_how_the_stream_was_cut_does_not_matter(data, one, other, limit):
    assert fed(pieces(data, one), limit).text() == fed(pieces(data, other), limit).text()


@given(st.binary(max_size=300), limits)
def test_any_bytes_become_text(data, limit):
    fed([data], limit).text().encode("utf-8")


@pytest.mark.parametrize("size", [1, 7, 4096, 3_000_000])
def test_memory_stays_bounded(size):
    limit, output = 100_000, BoundedOutput(100_000)
    for _ in range(max(1, 6_000_000 // size) if size > 1 else 500_000):
        output.feed(b"x" * size)
        kept = sum(sys.getsizeof(buffer) for buffer in vars(output).values() if isinstance(buffer, bytes | bytearray))
        assert kept < 2.2 * limit
    assert all(isinstance(value, int | bytearray) for value in vars(output).values())


def test_a_single_long_line_after_a_short_one_keeps_its_head():
    """Cut at a line's end only near the cut: else the one short line would be all that is left of the head."""
    output = fed([b"title\n" + b"x" * 10_000 + b"\nend"], 1000)
    head, tail = GAP.split(output.text())[::2]
    assert len(head) == 500
    assert len(tail) == 500


def test_lines_near_the_cut_are_kept_whole():
    output = fed([b"".join(b"line %04d\n" % n for n in range(1000))], 1000)
    head, tail = GAP.split(output.text())[::2]
    assert head.endswith("\n")
    assert tail.startswith("line ")


def test_exactly_the_limit_is_not_truncated():
    assert fed([b"x" * 10], 10).text() == "x" * 10
    assert fed([b"x" * 11], 10).truncated


def test_the_form_of_the_contract():
    """Contract 2.3: the sizes are there only when something is missing."""
    whole, cut = fed([b"all"], 10), fed([b"x" * 50], 10)
    assert command_output(whole, whole) == {"stdout": "all", "stderr": "all", "truncated": False}
    output = command_output(cut, whole)
    assert output["truncated"] is True
    assert (output["originalStdoutSize"], output["originalStderrSize"]) == (50, 3)


def test_the_default_limit_is_a_megabyte():
    assert not fed([b"x" * 1_048_576], 1_048_576).truncated
    output = BoundedOutput()
    output.feed(b"x" * 1_048_576)
    assert not output.truncated
    output.feed(b"x")
    assert output.truncated
