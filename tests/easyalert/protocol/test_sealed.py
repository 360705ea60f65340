"""The wire format of sealed delivery, against a calculation that shares no code with the product."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from easyalert.protocol.sealed import (
    FORMAT,
    Addressed,
    Malformed,
    NotOpened,
    fingerprint,
    open_sealed,
    read_public_key,
    read_sealed,
    seal,
    sealed_in,
)
from easyalert.protocol.signing import key_id
from tests.support.hpke_by_hand import seal_base, x25519

KEY = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
STORE = "system.storeCredential"
TO = Addressed("credentials", "agt_1", "job_1", STORE, "web-db", 1_800_000_000)
SECRET = {"password": "correct horse"}
PAGE = Path(__file__).parents[3] / "docs/sealed.md"


def sealed(secret=None, **changes):
    return seal(PUBLIC, dataclasses.replace(TO, **changes), SECRET if secret is None else secret)


def opened(value, action=STORE, connection="web-db", key=KEY):
    return open_sealed(key, value, action, connection)


def wire(**changes):
    value = sealed().wire()
    value[FORMAT] |= changes
    return value


def test_the_calculation_by_hand_is_that_of_rfc_9180_appendix_a_1():
    recipient = x25519(bytes.fromhex("4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8"))
    assert recipient.hex() == "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d"
    enc, ciphertext = seal_base(
        recipient,
        bytes.fromhex("52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736"),
        b"Ode on a Grecian Urn",
        b"Beauty is truth, truth beauty",
        aad=b"Count-0",
        key_bytes=16,
    )
    assert enc.hex() == "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431"
    assert ciphertext.hex() == (
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"
    )


def test_what_is_sealed_by_hand_opens():
    info = b"easyalert/credentials/agt_1/job_1"
    inside = {"credentials": SECRET, "expiresAt": TO.expires_at, "connectionId": "web-db", "actionType": STORE}
    enc, ciphertext = seal_base(x25519(bytes(range(32))), bytes(range(32, 64)), info, json.dumps(inside).encode())
    assert x25519(bytes(range(32))) == PUBLIC
    value = wire(enc=base64.b64encode(enc).decode(), ciphertext=base64.b64encode(ciphertext).decode())
    assert opened(read_sealed("credentials", value)) == SECRET


def test_the_vector_in_the_documentation_is_true():
    blocks = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)]
    vector = next(block for block in blocks if "recipientPrivateKey" in block)
    private, ephemeral = (bytes.fromhex(vector[name]) for name in ("recipientPrivateKey", "ephemeralPrivateKey"))
    assert vector["publicKey"] == base64.b64encode(x25519(private)).decode()
    assert vector["fingerprint"] == fingerprint(x25519(private))
    enc, ciphertext = seal_base(x25519(private), ephemeral, vector["info"].encode(), vector["plaintext"].encode())
    value = read_sealed("credentials", vector["sealed"])
    assert (value.enc, value.ciphertext, value.info.decode()) == (enc, ciphertext, vector["info"])
    inside = json.loads(vector["plaintext"])
    key = X25519PrivateKey.from_private_bytes(private)
    assert open_sealed(key, value, inside["actionType"], inside["connectionId"]) == inside["credentials"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(
        st.characters(exclude_categories=["Cs"])
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text("abc", max_size=3), json_values, max_size=3), st.sampled_from(["params", "credentials"]))
def test_round_trip_over_the_wire(secret, purpose):
    value = json.loads(json.dumps(sealed(secret, purpose=purpose).wire()))
    assert opened(read_sealed(purpose, value)) == secret


def test_nothing_of_it_shows_and_no_two_are_alike():
    one, other = sealed(), sealed()
    assert one.ciphertext != other.ciphertext
    assert one.enc != other.enc
    assert "horse" not in repr(one) + json.dumps(one.wire())
    assert one.key_id == key_id(PUBLIC)
    assert fingerprint(PUBLIC).startswith(one.key_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "params"},
        {"agent_id": "agt_2"},
        {"job_id": "job_2"},
        {"agent_id": "agt_1/job_1", "job_id": ""},
        {"enc": bytes(32)},
        {"enc": bytes([1]) + bytes(31)},
        {"ciphertext": bytes(200)},
    ],
)
def test_it_is_bound_to_purpose_agent_job_and_key(changes):
    with pytest.raises(NotOpened):
        opened(dataclasses.replace(sealed(), **changes))
    with pytest.raises(NotOpened):
        opened(sealed(), key=X25519PrivateKey.generate())


def test_it_is_bound_to_action_connection_and_expiry_inside():
    value = sealed()
    for what, use in {
        "actionType": lambda: opened(value, action="http.request"),
        "connectionId": lambda: opened(value, connection="web-db2"),
        "expiresAt": lambda: opened(dataclasses.replace(value, expires_at=value.expires_at + 1)),
    }.items():
        with pytest.raises(Malformed, match=f"another {what} than the job has"):
            use()


def test_a_flipped_bit_anywhere_opens_nothing():
    """The highest bit of the encapsulated key too: X25519 ignores it, HPKE's key schedule does not."""
    value = sealed()
    for name in ("enc", "ciphertext"):
        whole = getattr(value, name)
        for position in range(8 * len(whole)):
            changed = bytearray(whole)
            changed[position // 8] ^= 1 << position % 8
            with pytest.raises(NotOpened):
                opened(dataclasses.replace(value, **{name: bytes(changed)}))


def test_every_truncation_is_refused():
    value = sealed()
    for size in range(len(value.ciphertext)):
        text = base64.b64encode(value.ciphertext[:size]).decode()
        with pytest.raises((Malformed, NotOpened)):
            opened(read_sealed("credentials", wire(ciphertext=text)))
    for size in range(32):
        with pytest.raises(Malformed, match="'enc' must be 32 bytes"):
            read_sealed("credentials", wire(enc=base64.b64encode(value.enc[:size]).decode()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"agentId": None}, "'agentId'"),
        ({"agentId": ""}, "'agentId'"),
        ({"agentId": "a/b"}, "'agentId'"),
        ({"agentId": "a" * 129}, "'agentId'"),
        ({"jobId": "job_1\n"}, "'jobId'"),
        ({"jobId": 5}, "'jobId'"),
        ({"keyId": "xyz"}, "'keyId'"),
        ({"keyId": "ABCDEF0123456789"}, "'keyId'"),
        ({"expiresAt": "soon"}, "'expiresAt'"),
        ({"expiresAt": True}, "'expiresAt'"),
        ({"expiresAt": 1.5}, "'expiresAt'"),
        ({"expiresAt": -1}, "'expiresAt'"),
        ({"expiresAt": 2**60}, "'expiresAt'"),
        ({"enc": "not base64!"}, "'enc'"),
        ({"enc": None}, "'enc'"),
        ({"ciphertext": "not base64!"}, "'ciphertext'"),
        ({"ciphertext": "é"}, "'ciphertext'"),
        ({"ciphertext": ["AA=="]}, "'ciphertext'"),
        ({"ciphertext": "AAAA"}, "'ciphertext'"),
        ({"ciphertext": "A" * 39 + "B="}, "'ciphertext'"),
        ({"more": 1}, "'more' is no member of it"),
    ],
)
def test_other_shapes_are_named(changes, sentence):
    with pytest.raises(Malformed, match=sentence):
        read_sealed("credentials", wire(**changes))


@pytest.mark.parametrize(
    "value", [None, [], "text", {}, {FORMAT: None}, {FORMAT: []}, {FORMAT: {}}, wire() | {"host": "h"}]
)
def test_what_is_no_sealed_value_is_malformed(value):
    with pytest.raises(Malformed):
        read_sealed("credentials", value)


@pytest.mark.parametrize("inside", [b"[]", b"no JSON", b"\xff", b"{}", b'{"credentials": "text"}', b"[" * 100_000])
def test_what_is_inside_has_a_shape_too(inside):
    enc, ciphertext = seal_base(PUBLIC, bytes(range(32)), sealed().info, inside[:2000])
    with pytest.raises(Malformed, match="what is inside"):
        opened(dataclasses.replace(sealed(), enc=enc, ciphertext=ciphertext))


@pytest.mark.parametrize("secret", [{"a": float("nan")}, {"a": "\ud800"}])
def test_what_json_cannot_carry_is_not_sealed(secret):
    with pytest.raises(Malformed, match="JSON cannot carry it"):
        sealed(secret)


def test_ids_that_could_be_read_in_two_ways_are_not_sealed_to():
    for changes in ({"agent_id": "agt_1/job"}, {"job_id": "a/b"}, {"job_id": ""}):
        with pytest.raises(Malformed, match="id must be"):
            sealed(**changes)


def test_a_key_of_small_order_is_no_key():
    with pytest.raises(Malformed):
        seal(bytes(32), TO, SECRET)


def test_where_it_may_stand():
    value = sealed().wire()
    assert sealed_in(STORE, {"connectionId": "x", "credentials": value}) == ("credentials", value)
    assert sealed_in("http.request", {**value, "timeout": 5}) == ("params", value)
    assert sealed_in("http.request", {"credentials": value}) is None
    for params in ({}, {"credentials": "text"}, {"credentials": {"password": "x"}}):
        assert sealed_in(STORE, params) is None
    with pytest.raises(Malformed, match="nothing may stand beside what is sealed, but timeout"):
        read_sealed(*sealed_in("http.request", {**value, "method": "GET"}))


@pytest.mark.parametrize("text", [None, "", "AAAA", base64.b64encode(PUBLIC).decode().rstrip("="), "é"])
def test_other_texts_are_no_public_key(text):
    assert read_public_key(text) is None
    assert read_public_key(base64.b64encode(PUBLIC).decode()) == PUBLIC
