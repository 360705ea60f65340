"""Redaction: complete, longest first, the same wherever a stream is cut, and quick."""

import base64
import itertools
import json
import random
import string
import time
import tracemalloc

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from easyalert.redact import REPLACEMENT, Redactor

KEY = "hunter2-hunter2"

texts = st.text(st.characters(codec="utf-8"), max_size=40)
secret_texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=6, max_size=30
)
cuts = st.lists(st.integers(0, 400), max_size=12)


def streamed(redactor, data, positions):
    """`data` fed in pieces cut at `positions`."""
    stream = redactor.stream()
    borders = [0, *sorted(position for position in positions if position < len(data)), len(data)]
    pieces = [stream.feed(data[start:end]) for start, end in itertools.pairwise(borders)]
    return b"".join([*pieces, stream.finish()])


def test_a_secret_is_replaced_and_counted():
    redactor = Redactor([KEY])
    assert redactor.text(f"key={KEY}; again {KEY}.") == f"key={REPLACEMENT}; again {REPLACEMENT}."
    assert redactor.count == 2


def test_text_without_secrets_is_the_same_object():
    text = "nothing here"
    assert Redactor([KEY]).text(text) is text
    assert Redactor().text(text) is text


def test_a_megabyte_of_lines_costs_little_more_memory_than_itself():
    redactor = Redactor([KEY])
    redactor.text("the forms are made on first use")
    text = "0123456789abcdef\n" * 60_000
    for look in (redactor.text, lambda text: redactor.data(text.encode())):
        tracemalloc.start()
        try:
            look(text)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4e6


def test_without_secrets_nothing_is_done():
    tree = {"a": ["b"]}
    redactor = Redactor(["", "short"])
    assert redactor.tree(tree) is tree
    assert redactor.stream().feed(b"x") == b"x"
    assert redactor.stream().finish() == b""


def test_the_longest_secret_counts():
    redactor = Redactor(["secret", "secret-extended"])
    assert redactor.text("secret-extended secret-ext") == f"{REPLACEMENT} {REPLACEMENT}-ext"


def test_overlapping_and_touching_secrets_leave_nothing_between():
    redactor = Redactor(["abcdef", "defghi"])
    assert redactor.text("<abcdefghi>") == f"<{REPLACEMENT}>"
    assert redactor.text("<abcdefdefghi>") == f"<{REPLACEMENT}>"


def test_a_secret_longer_than_a_piece_is_one_replacement():
    secret = "".join(random.Random(1).choices(string.ascii_letters, k=5000))
    redactor = Redactor([secret])
    assert redactor.text(f"<{secret}>") == f"<{REPLACEMENT}>"
    assert redactor.count == 1
    assert secret[:512] not in redactor.text(secret[:700])


def test_of_takes_every_string_leaf_and_no_number():
    redactor = Redactor.of(
        {"user": "deploy-user", "port": 443443, "list": [{"deep": "deep-secret"}], "none": None}, "api-key-1"
    )
    assert (
        redactor.text("deploy-user 443443 deep-secret api-key-1") == f"{REPLACEMENT} 443443 {REPLACEMENT} {REPLACEMENT}"
    )


def test_of_takes_no_key_and_no_configuration():
    redactor = Redactor.of(
        {
            "privateKey": "s3cr3t-s3cr3t",
            "authType": "bearer",
            "headerName": "X-API-Key",
            "username": "deploy",
            "host": "web-01.example",
        }
    )
    assert (
        redactor.text("privateKey bearer X-API-Key deploy@web-01.example")
        == "privateKey bearer X-API-Key deploy@web-01.example"
    )


def test_lone_surrogates_survive():
    assert Redactor([KEY]).text(f"\ud800{KEY}\udfff") == f"\ud800{REPLACEMENT}\udfff"


def test_tree_cleans_leaves_and_keys_and_nothing_else():
    tree = {"a": [KEY, 1, None, True, 1.5], KEY: {"b": (f"x{KEY}", "y")}, "c": {}}
    redactor = Redactor([KEY])
    assert redactor.tree(tree) == {
        "a": [REPLACEMENT, 1, None, True, 1.5],
        REPLACEMENT: {"b": [f"x{REPLACEMENT}", "y"]},
        "c": {},
    }
    assert list(redactor.tree(tree)) == ["a", REPLACEMENT, "c"]
    assert tree["a"][0] == KEY


def test_keys_that_become_equal_stay_apart():
    tree = {KEY: 1, base64.b64encode(KEY.encode()).decode(): 2, REPLACEMENT: 3}
    assert sorted(Redactor([KEY]).tree(tree).values()) == [1, 2, 3]


def test_a_tree_deeper_than_the_stack():
    tree = KEY
    for _ in range(100_000):
        tree = [tree]
    clean = Redactor([KEY]).tree(tree)
    while isinstance(clean, list):
        (clean,) = clean
    assert clean == REPLACEMENT


def test_a_stream_holds_back_only_what_may_be_a_secret():
    stream = Redactor([KEY]).stream()
    assert stream.feed(b"progress 1%\n") == b"progress 1%\n"
    assert stream.feed(b"key: hunt") == b"key: "
    assert stream.feed(b"ing\n") == b"hunting\n"
    assert stream.feed(b"hunter2-") == b""
    assert stream.feed(b"hunter2\n") == f"{REPLACEMENT}\n".encode()
    assert stream.feed(b"hunter2") == b""
    assert stream.finish() == b"hunter2"


def test_a_stream_counts_in_its_redactor():
    redactor = Redactor([KEY])
    stream = redactor.stream()
    stream.feed(KEY.encode() + b"\n")
    stream.finish()
    assert redactor.count == 1


def test_a_stream_of_beginnings_stays_bounded():
    stream = Redactor(["a" * 5000 + "b"]).stream()
    given_out = 0
    for number in range(200):
        given_out += len(stream.feed(b"a" * 100))
        assert (number + 1) * 100 - given_out < 25_000
        assert len(stream._held) < 600


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(secret=secret_texts, before=texts, after=texts, positions=cuts)
def test_no_secret_survives_wherever_the_stream_is_cut(secret, before, after, positions):
    for encoded in (secret, json.dumps(secret)[1:-1], secret.encode().hex(), repr(secret)[1:-1]):
        data = f"{before}{encoded}{after}{encoded}".encode()
        redactor = Redactor([secret])
        clean = redactor.data(data)
        assert encoded.encode() not in clean.replace(REPLACEMENT.encode(), b"\x00")
        assert redactor.count >= 1
        assert streamed(redactor, data, positions) == clean


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text("ab", min_size=6, max_size=12), min_size=1, max_size=4), st.text("abc", max_size=80), cuts)
def test_secrets_that_overlap_themselves_are_the_same_in_any_pieces(secrets, text, positions):
    redactor = Redactor(secrets)
    clean = redactor.data(text.encode())
    assert streamed(redactor, text.encode(), [position % 90 for position in positions]) == clean
    assert streamed(redactor, text.encode(), range(len(text))) == clean
    assert clean.replace(REPLACEMENT.encode(), b"#") == covered(secrets, text).encode()


def covered(secrets, text):
    """The definition: every place a secret covers is taken out, one mark for each run of such places."""
    marked = [False] * len(text)
    for secret in secrets:
        for at in range(len(text)):
            if text.startswith(secret, at):
                marked[at : at + len(secret)] = [True] * len(secret)
    shown = ["\0" if gone else char for char, gone in zip(text, marked, strict=True)]
    return "".join(
        char if char != "\0" else "#"
        for at, char in enumerate(shown)
        if char != "\0" or at == 0 or shown[at - 1] != "\0"
    )


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.integers() | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    )
)
def test_a_tree_without_secrets_comes_back_equal(tree):
    assert Redactor([KEY * 3]).tree(tree) == tree


def test_twenty_secrets_at_two_megabytes_a_second():
    rng = random.Random(7)
    secrets = ["".join(rng.choices(string.ascii_letters + string.digits + "+/$&'\"ä ", k=32)) for _ in range(20)]
    words = ["".join(rng.choices(string.ascii_letters, k=rng.randint(2, 12))) for _ in range(5000)]
    data = " ".join(rng.choices(words, k=300_000)).encode()[:2_000_000]
    redactor = Redactor(secrets)
    started = time.process_time()
    redactor.data(data)
    assert len(data) / (time.process_time() - started) > 2_000_000


def test_a_secret_of_digits_is_found_where_it_is_a_number():
    """A password that is a number is one in JSON, too, and a parsed body shows it as one."""
    redactor = Redactor(["31415926", "2.718281828"])
    tree = {"pin": 31415926, "n": [1, 31415927, 2.718281828, True]}
    assert redactor.tree(tree) == {"pin": REPLACEMENT, "n": [1, 31415927, REPLACEMENT, True]}
    assert redactor.count == 2


def test_a_number_in_a_credential_is_a_secret_when_its_name_says_so():
    redactor = Redactor.of({"password": 31415926, "port": 443443, "authPin": 27182818, "apiKey": {"token": 16180339}})
    assert redactor.text("31415926 443443 27182818 16180339") == f"{REPLACEMENT} 443443 {REPLACEMENT} {REPLACEMENT}"
