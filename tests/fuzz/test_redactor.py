import random

from hypothesis import given
from hypothesis import strategies as st

from easyalert.redact import REPLACEMENT, Redactor
from tests.fuzz.conftest import TEXTS, VALUES, at_once, bounded

secrets = st.lists(TEXTS, max_size=3)


@bounded(150)
@given(secrets, st.binary(max_size=400), st.integers(0, 2**32))
def test_any_bytes_in_any_pieces(hidden, data, seed):
    redactor = Redactor(hidden)
    rng = random.Random(seed)
    mixed = data.join(secret.encode("utf-8", "surrogatepass") for secret in [*hidden, "x", *hidden])
    with at_once():
        whole = redactor.data(mixed)
    stream = redactor.stream()
    given_out, at = b"", 0
    while at < len(mixed):
        size = rng.choice((1, 2, 7, 100, 1000))
        given_out += stream.feed(mixed[at : at + size])
        at += size
    assert given_out + stream.finish() == whole
    for secret in hidden:
        if len(secret) >= 6:
            assert (
                secret.encode("utf-8", "surrogatepass") not in whole.replace(REPLACEMENT.encode(), b"\0")
                or not secret.strip()
            )


@bounded(150)
@given(VALUES, VALUES)
def test_any_credential_and_any_tree(credential, tree):
    redactor = Redactor.of(credential)
    with at_once():
        clean = redactor.tree({"a": tree, "b": credential})
    assert type(clean) is dict
    assert list(clean) == ["a", "b"]
