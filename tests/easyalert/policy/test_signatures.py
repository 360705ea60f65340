"""Whose signature counts, for which job, where and when: each way to be wrong has its sentence."""

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from easyalert.errors import PolicyUnusable, SignatureRefused
from easyalert.policy.signatures import Delivered, read_keys, trusted_signature
from easyalert.protocol.signing import LIFETIME_MAX_S, Signable, key_id, sign

NOW = 1_764_000_000.0
OWNER, STRANGER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLIC = OWNER.public_key().public_bytes_raw()
KEYS = {key_id(PUBLIC): PUBLIC}
PARAMS = {"script": "echo ü \U0001f600", "timeout": 60, "env": {"Ä": "1.0"}, "args": [1.5, 1e21, -0.5]}
HERE = {"agt_1", "pool:default"}


def signed(key=OWNER, **changes):
    fields = {
        "job_id": "job_1",
        "audience": "agt_1",
        "action_type": "script.bash",
        "connection_id": "web-1",
        "params": PARAMS,
        "idempotent": None,
        "expires_at": int(NOW) + 60,
    }
    return sign(key, Signable(**{**fields, **changes})).wire()


def delivered(signature, **changes):
    return replace(Delivered("job_1", "script.bash", "web-1", None, PARAMS, signature), **changes)


def refusal(job, keys=KEYS, audience=HERE, now=NOW):
    with pytest.raises(SignatureRefused) as caught:
        trusted_signature(job, keys, audience, now)
    return str(caught.value)


@pytest.mark.parametrize("audience", ["agt_1", "pool:default"])
def test_the_owners_signature_counts(audience):
    found = trusted_signature(delivered(signed(audience=audience)), KEYS, HERE, NOW)
    assert (found.job_id, found.expires_at) == ("job_1", int(NOW) + 60)


@pytest.mark.parametrize(
    "changes",
    [
        {"action_type": "script.python"},
        {"connection_id": "web-2"},
        {"connection_id": None},
        {"idempotent": True},
        {"params": {**PARAMS, "script": "rm -rf /"}},
        {"params": {**PARAMS, "script": "echo u\u0308 \U0001f600"}},
        {"params": {**PARAMS, "timeout": 61}},
        {"params": {**PARAMS, "timeout": "60"}},
        {"params": {**PARAMS, "args": [1.5000000000000002, 1e21, -0.5]}},
        {"params": {**PARAMS, "more": None}},
        {"params": {}},
    ],
)
def test_a_job_that_was_tampered_with(changes):
    assert "were changed" in refusal(delivered(signed(), **changes))


def test_fields_of_the_envelope_are_covered_too():
    good = signed()
    assert "were changed" in refusal(delivered({**good, "expiresAt": int(NOW) + 3600}))
    assert "were changed" in refusal(delivered({**good, "audience": "pool:default"}))
    assert "were changed" in refusal(delivered({**good, "jobId": "job_2"}, job_id="job_2"))


def test_another_job_another_agent_another_time():
    assert refusal(delivered(signed(), job_id="job_2")) == "the signature is for another job ('job_1')"
    assert "is for 'agt_2', not for this agent (agt_1, pool:default)" in refusal(delivered(signed(audience="agt_2")))
    assert "is for 'pool:other'" in refusal(delivered(signed(audience="pool:other")))
    assert "is for 'default'" in refusal(delivered(signed(audience="default"))), "a pool's name is no agent's id"
    assert "expired 0 seconds ago" in refusal(delivered(signed()), now=NOW + 60)
    assert "expired 3600 seconds ago" in refusal(delivered(signed()), now=NOW + 3660)
    assert "more than 31 days" in refusal(delivered(signed(expires_at=int(NOW) + LIFETIME_MAX_S + 1)))


def test_a_key_that_is_not_trusted():
    assert "is not trusted here" in refusal(delivered(signed(STRANGER)))
    # a stranger's signature under the name of a trusted key
    assert "were changed" in refusal(delivered({**signed(STRANGER), "keyId": key_id(PUBLIC)}))
    assert "is not trusted here" in refusal(delivered(signed()), keys={})


@pytest.mark.parametrize(
    ("signature", "says"),
    [
        (None, "the job is not signed"),
        ("text", "malformed"),
        ([], "malformed"),
        ({}, "malformed: audience, expiresAt, jobId, keyId, value"),
        ({**signed(), "expiresAt": "soon"}, "malformed: expiresAt"),
        ({**signed(), "expiresAt": 1e400}, "malformed: expiresAt"),
        ({**signed(), "expiresAt": -(10**400)}, "expired 1000000000 seconds ago"),
        ({**signed(), "expiresAt": 10**400}, "more than 31 days"),
        ({**signed(), "value": 5}, "malformed: value"),
        ({**signed(), "value": "\ud800"}, "malformed: value"),
        ({**signed(), "value": "%%%"}, "value is not 64 bytes in base64"),
        ({**signed(), "value": ""}, "value is not 64 bytes in base64"),
        ({**signed(), "value": signed()["value"] + "\n"}, "value is not 64 bytes in base64"),
        ({**signed(), "value": signed()["value"].rstrip("=")}, "value is not 64 bytes in base64"),
        ({**signed(), "value": base64.b64encode(bytes(63)).decode()}, "value is not 64 bytes in base64"),
        ({**signed(), "value": base64.b64encode(bytes(64)).decode()}, "were changed"),
    ],
)
def test_what_is_no_signature(signature, says):
    assert says in refusal(delivered(signature))


@pytest.mark.parametrize("odd", [2**60, float("nan"), "\ud800"])
def test_parameters_nobody_can_have_signed(odd):
    assert "cannot have been signed" in refusal(delivered(signed(), params={**PARAMS, "n": odd}))


def test_another_writer_of_the_same_json_changes_nothing():
    assert trusted_signature(delivered(signed(), params={**PARAMS, "timeout": 60.0}), KEYS, HERE, NOW)


# ---- the list of keys -----------------------------------------------------------------------------------------------


def test_a_list_of_keys():
    text = (
        f"# ours\n\n{base64.b64encode(PUBLIC).decode()} ops 2026 # a note\n  {base64.b64encode(bytes(32)).decode()}\n"
    )
    assert read_keys(text.encode(), Path("keys")) == {key_id(PUBLIC): PUBLIC, key_id(bytes(32)): bytes(32)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "names no key"),
        (b"# only a comment\n", "names no key"),
        (b"ssh-ed25519 AAAA\n", "line 1: no Ed25519 public key"),
        # an id of its own: the key is another one in each process
        pytest.param(base64.b64encode(PUBLIC) + b"\nxxx\n", "line 2: no Ed25519 public key", id="second line"),
        (b"\xff", "not text"),
    ],
)
def test_what_is_no_list_of_keys(content, says):
    with pytest.raises(PolicyUnusable, match=says):
        read_keys(content, Path("keys"))
