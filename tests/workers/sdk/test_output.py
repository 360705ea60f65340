from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.sdk.output import BoundedOutput, command_output


def fed(limit, *chunks):
    output = BoundedOutput(limit)
    for chunk in chunks:
        output.feed(chunk)
    return output


def test_what_fits_is_kept_exactly():
    output = fed(100, b"one\n", b"", b"two\n")
    assert (output.text(), output.size, output.truncated) == ("one\ntwo\n", 8, False)


def test_head_and_tail_are_kept_and_the_gap_says_how_much_is_missing():
    lines = [b"line %06d\n" % number for number in range(1000)]
    output = fed(200, *lines)
    text = output.text()
    assert output.truncated
    assert output.size == 12_000
    assert text.startswith("line 000000\n")
    assert text.endswith("line 000999\n")
    kept = [line for line in text.splitlines() if line.startswith("line")]
    assert f"[... {12_000 - 12 * len(kept)} bytes left out ...]" in text
    assert all(line.encode() + b"\n" in lines for line in kept), "no half lines"


def test_one_endless_line_is_cut_where_it_must():
    output = fed(10, b"x" * 100)
    assert output.text() == "xxxxx\n[... 90 bytes left out ...]\nxxxxx"


def test_memory_is_bounded_whatever_the_chunks():
    output = BoundedOutput(1000)
    for _ in range(10_000):
        output.feed(b"y" * 997)
    assert len(output._head) + output._tail_size <= 1000 + 997


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(min_value=2, max_value=64))
def test_size_and_flag_are_always_exact(chunks, limit):
    output = fed(limit, *chunks)
    total = b"".join(chunks)
    assert output.size == len(total)
    assert output.truncated == (len(total) > limit)
    if not output.truncated:
        assert output.text() == total.decode("utf-8", "replace")


def test_original_sizes_appear_only_when_something_is_missing():
    assert command_output(fed(10, b"a"), fed(10)) == {"stdout": "a", "stderr": "", "truncated": False}
    cut = command_output(fed(10, b"a" * 11), fed(10, b"b"))
    assert (cut["truncated"], cut["originalStdoutSize"], cut["originalStderrSize"]) == (True, 11, 1)
