import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vault.key
from tests.fuzz.conftest import TEXTS, VALUES, at_once, bounded
from vault import VaultKey
from vault.document import Document, MalformedDocumentError, parse
from vault.opening import Opening, stamped


@pytest.fixture(scope="module", autouse=True)
def cheap_derivation():
    patch = pytest.MonkeyPatch()
    patch.setattr(vault.key, "ITERATIONS", 2)
    yield
    patch.undo()


def honest(key):
    document = Document(salt=bytes(range(16)))
    entries = {}
    for name, secret in {"a": {"token": "t0ken"}, "conn-2": {"privateKey": "k" * 200, "port": 22}}.items():
        entries[name] = vault.cipher.seal(
            key.current(document.salt), json.dumps(secret).encode(), vault.cipher.bound_to(name)
        )
    document = Document(salt=document.salt, entries=entries)
    return Document(salt=document.salt, entries=entries, meta=stamped(document, key, rekeyed=False)).encode()


base64s = st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode())
sealed = st.fixed_dictionaries({}, optional={"iv": base64s | VALUES, "data": base64s | VALUES, "x": VALUES}) | VALUES
documents = st.fixed_dictionaries(
    {},
    optional={
        "salt": st.binary(min_size=16, max_size=16).map(lambda data: base64.b64encode(data).decode()) | VALUES,
        "credentials": st.dictionaries(TEXTS, sealed, max_size=4) | VALUES,
        "meta": st.fixed_dictionaries({}, optional={"verifier": sealed, "saltDigest": VALUES, "writes": VALUES})
        | VALUES,
        "more": VALUES,
    },
)


def looked_at(raw):
    """Everything a reader asks of a file. Only the declared error may come out."""
    key = VaultKey("ea_agent_key", "ea_agent_previous")
    with at_once():
        try:
            document = parse(raw)
        except MalformedDocumentError:
            return None
        opening = Opening(document, key)
        assert opening.key_fits in {True, False}
        assert opening.awaits_rotation in {True, False}
        assert set(opening.damaged()) <= set(document.entries)
        entries, _ = opening.rewritten(key, bytes(16), everything=True)
        assert entries.keys() == document.entries.keys()
        assert document.counter("writes") >= 0
        assert parse(document.encode()) == document
    return opening


@bounded(400)
@given(
    st.binary(max_size=200) | documents.map(lambda document: json.dumps(document).replace("Infinity", "1e999").encode())
)
def test_any_file_is_read_or_refused(raw):
    looked_at(raw)


@bounded(400)
@given(st.data())
def test_a_file_that_was_changed_anywhere_gives_right_secrets_or_none(data):
    key = VaultKey("ea_agent_key", "ea_agent_previous")
    raw = bytearray(honest(key))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["flip", "drop", "double", "cut"]))
        if how == "flip":
            raw[at] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "drop":
            del raw[at : at + data.draw(st.integers(1, 20))]
        elif how == "double":
            raw[at:at] = raw[at : at + 20]
        else:
            del raw[at:]
        if not raw:
            break
    opening = looked_at(bytes(raw))
    for name in opening.document.entries if opening else ():
        entry = opening.entry(name)
        if entry is not None:
            assert entry.credentials in ({"token": "t0ken"}, {"privateKey": "k" * 200, "port": 22})
            assert name == ("a" if "token" in entry.credentials else "conn-2"), "an entry under another's name"


@pytest.mark.parametrize("raw", [b"[" * 200_000, b'{"salt":' * 50_000, b'{"a":1' + b"0" * 2_000_000 + b"}"])
def test_what_would_exhaust_a_parser(raw):
    assert looked_at(raw) is None
