"""Base64 and hex that line breaks cut at any place."""

from __future__ import annotations

import base64
import itertools
import random
import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from easyalert.redact import REPLACEMENT, Redactor
from easyalert.spellings import wrapped_spellings
from easyalert.wrapping import LINE_MIN, WrappedForms

SECRET = "hunter2-of-the-vault-31415926"
BREAKS = ("\n", "\r\n", "\n    ", "\\n", "\\r\\n")
ENCODINGS = {
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "urlsafe": lambda raw: base64.urlsafe_b64encode(raw).decode(),
    "hex": bytes.hex,
    "HEX": lambda raw: raw.hex().upper(),
}

secrets = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=8, max_size=60)


def wrapped(encode, before, secret, after, width, line_break, first=0):
    """What a tool prints of the secret inside other data; the first line may be shorter."""
    text = encode(before + secret.encode() + after)
    lines = [text[:first], *(text[at : at + width] for at in range(first, len(text), width))]
    return line_break.join(line for line in lines if line).encode()


def leaks(clean, encode, secret):
    """Whether characters that only the secret decides are left, breaks or not."""
    left = re.sub(r"\\r|\\n|\s", "", clean.decode())
    return any(form.decode() in left for form in wrapped_spellings(secret)) or encode(secret.encode())[4:-4] in left


def streamed(redactor, data, positions):
    stream = redactor.stream()
    borders = [0, *sorted(position for position in positions if position < len(data)), len(data)]
    return b"".join([*(stream.feed(data[a:b]) for a, b in itertools.pairwise(borders)), stream.finish()])


@pytest.mark.parametrize("line_break", BREAKS, ids=repr)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_break_at_every_place_of_the_secret(encoding, line_break):
    encode = ENCODINGS[encoding]
    form = encode(SECRET.encode())
    for at in range(1, len(form)):
        text = f"before {form[:at]}{line_break}{form[at:]} after".encode()
        clean = Redactor([SECRET]).data(text)
        assert not leaks(clean, encode, SECRET), at
        assert clean.startswith(b"before ")
        assert clean.endswith(b" after")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    secret=secrets,
    before=st.binary(max_size=90),
    after=st.binary(max_size=90),
    width=st.integers(LINE_MIN, 100),
    line_break=st.sampled_from(BREAKS),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
def test_wrapped_at_any_column_and_cut_anywhere_nothing_is_left(
    secret, before, after, width, line_break, encoding, cuts
):
    encode = ENCODINGS[encoding]
    data = wrapped(encode, before, secret, after, width, line_break)
    redactor = Redactor([secret])
    clean = redactor.data(data)
    assert not leaks(clean, encode, secret)
    assert redactor.count >= 1
    assert streamed(Redactor([secret]), data, cuts) == clean


@settings(deadline=None)
@given(
    forms=st.lists(st.text("ab", min_size=6, max_size=24), min_size=1, max_size=4),
    text=st.lists(st.sampled_from(["a", "b", "ab" * 8, "\n", "\r\n", "\\n", " ", "\\", "\r"]), max_size=60),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_forms_that_overlap_themselves_give_the_same_in_any_pieces(forms, text, cuts):
    data = "".join(text).encode()
    assert streamed(Redactor(forms), data, cuts) == Redactor(forms).data(data)


def test_the_whole_of_a_form_goes_and_what_is_around_stays():
    text = wrapped(ENCODINGS["hex"], b"left", SECRET, b"right", 20, "\n")
    clean = Redactor([SECRET]).data(text)
    assert clean.startswith(b"left".hex().encode() + REPLACEMENT.encode())
    assert bytes.fromhex(clean.decode().split(REPLACEMENT)[1].replace("\n", "")) == b"right"


def test_honest_lines_are_left_alone():
    rng = random.Random(7)
    lines = "\n".join(base64.b64encode(rng.randbytes(57)).decode() for _ in range(2000))
    assert Redactor([SECRET]).text(lines) == lines


def test_lines_narrower_than_any_tool_wraps_are_no_wrapped_text():
    form = SECRET.encode().hex()
    text = "\n".join(form[at : at + 2] for at in range(0, len(form), 2)).encode()
    assert WrappedForms(wrapped_spellings(SECRET)).matches(text, len(text)) == []


def test_what_is_held_back_is_bounded_and_short_lines_are_quick():
    forms = WrappedForms(wrapped_spellings(SECRET))
    stream = Redactor([SECRET]).stream()
    head = SECRET.encode().hex()[:-1].encode()
    for _ in range(200):
        stream.feed(head + b"\n")
        assert len(stream._held) <= forms.reach
    began = time.process_time()
    for _ in range(16):
        stream.feed(b"ab\n" * 20_000)
    assert time.process_time() - began < 10, "a promise of two megabytes a second takes half a second"
