"""Bodies of HTTP answers: bounded, decoded, parsed safely (defects A3 and A16)."""

import gzip
import json
import random
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from easyalert.redact import REPLACEMENT, Redactor
from workers.sdk.http_body import BODY_MAX_BYTES, HttpBody, parse_json

JSON = "application/json"


def body(*pieces, **headers):
    made = HttpBody(**headers)
    for piece in pieces:
        made.feed(piece)
    return made


@pytest.mark.parametrize(
    ("size", "truncated"),
    [(0, False), (BODY_MAX_BYTES - 1, False), (BODY_MAX_BYTES, False), (BODY_MAX_BYTES + 1, True), (3_000_000, True)],
)
def test_truncated_says_the_truth(size, truncated):
    made = body(b"x" * size)
    assert made.truncated is truncated
    assert len(made.text()) == len(made.redacted(Redactor())) == min(size, BODY_MAX_BYTES)


def test_a_cut_json_body_is_not_parsed():
    assert body(b'{"a":1}' + b" " * BODY_MAX_BYTES, content_type=JSON).parsed() is None


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        ("Grüße".encode(), "text/plain", "Grüße"),
        ("Grüße".encode("latin-1"), "text/plain; charset=ISO-8859-1", "Grüße"),
        ("Grüße".encode("utf-16"), "text/plain; charset=utf-16", "Grüße"),
        (b"Gr\xfc", "text/plain", "Gr\ufffd"),
        (b"abc", "text/plain; charset=no-such", "abc"),
        (b"616263", "text/plain; charset=hex", "616263"),
        (b"a\\u0041", "text/plain; charset=unicode_escape", "a\\u0041"),
        (b"xn--a", "text/plain; charset=idna", "xn--a"),
        (b"abc", "text/plain; charset=\x00", "abc"),
        (b"\x00\xd8", "text/plain; charset=utf-16-le", "\ufffd"),
        (b"abc", "", "abc"),
    ],
)
def test_charsets(data, content_type, text):
    assert body(data, content_type=content_type).text() == text


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda d: zlib.compress(d, wbits=-15)),
        ("", bytes),
        ("br", bytes),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_content_encodings_in_any_pieces(encoding, compress, step):
    data = compress(b"hello " * 50)
    made = body(*(data[at : at + step] for at in range(0, len(data), step)), content_encoding=encoding)
    assert made.text() == "hello " * 50
    assert not made.truncated


def test_gzip_of_several_members():
    assert body(gzip.compress(b"one ") + gzip.compress(b"two"), content_encoding="gzip").text() == "one two"


def test_what_is_not_compressed_as_it_says_is_kept_as_it_came():
    assert body(b"plain", content_encoding="gzip").text() == "plain"


def test_damaged_data_is_marked():
    data = bytearray(gzip.compress(bytes(range(256)) * 400))
    data[len(data) // 2] ^= 0xFF
    made = body(*(bytes(data[at : at + 10]) for at in range(0, len(data), 10)), content_encoding="gzip")
    assert made.truncated
    assert made.full


def test_a_bomb_stays_small():
    bomb = zlib.compress(b"\0" * 200_000_000, 9)
    tracemalloc.start()
    try:
        made = body(bomb, content_encoding="deflate")
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()
    assert made.full
    assert made.truncated


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ('{"ok": true}', {"ok": True}),
        ("\ufeff[1]", [1]),
        ("[NaN, Infinity, -Infinity, 1e999, 1.5]", [None, None, None, None, 1.5]),
        ('{"\\ud800": "\\udfff x"}', {"\ufffd": "\ufffd x"}),
        ("not json", None),
        ("", None),
        ("[" * 100_000, None),
        ("[" * 300 + "]" * 300, None),
        ("1" * 10_000, None),
    ],
)
def test_parsed_can_always_be_sent_on(text, parsed):
    made = body(text.encode(), content_type="application/problem+json; charset=utf-8")
    assert made.parsed() == parsed
    json.dumps(made.parsed(), allow_nan=False).encode()


def test_only_json_is_parsed():
    assert body(b'{"a": 1}', content_type="text/plain").parsed() is None


def test_secrets_are_taken_out_before_the_cut():
    secret = "s3cr3t-s3cr3t-s3cr3t"
    for offset in range(1, len(secret)):
        clean = body(b"x" * (BODY_MAX_BYTES - offset) + secret.encode() + b"y" * 100).redacted(Redactor([secret]))
        assert secret[:offset] not in clean.replace(REPLACEMENT, "") or offset < 2
        assert len(clean.encode()) <= BODY_MAX_BYTES


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_parse_json_gives_what_can_be_written(value):
    json.dumps(parse_json(json.dumps(value)), allow_nan=False, ensure_ascii=False).encode()


def test_no_half_secret_comes_up_to_the_cut_when_what_is_before_it_becomes_shorter():
    """Replacements are shorter than secrets: the end of what was read moves to before the limit."""
    secret = "s3cr3t-" + "".join(random.Random(5).choices("abcdefgh", k=293))
    made = body(f"{secret}\n".encode() * 5000)
    assert made.truncated
    shown = made.redacted(Redactor([secret]))
    assert set(shown.splitlines()) == {REPLACEMENT}


def test_the_end_of_a_whole_body_is_not_cut():
    assert body(b"x hunter2-hunt").redacted(Redactor(["hunter2-hunter2"])) == "x hunter2-hunt"
