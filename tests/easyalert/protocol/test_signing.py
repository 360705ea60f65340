import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from easyalert.protocol.canonical import NotCanonical
from easyalert.protocol.signing import Signable, genuine, key_id, sign

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()
JOB = Signable(
    job_id="job_1",
    audience="agt_1",
    action_type="script.bash",
    connection_id="web-1",
    params={"script": "echo ü", "timeout": 60, "args": [1.5, "a"]},
    idempotent=None,
    expires_at=2_000_000_000,
)


def test_what_is_signed_is_fixed():
    # a recorded sample: signatures of older signers have to be understood for ever
    assert JOB.message().decode() == (
        '{"actionType":"script.bash","audience":"agt_1","connectionId":"web-1","expiresAt":2000000000,'
        '"format":"easyalert/signed-job/1","idempotent":null,"jobId":"job_1",'
        '"params":{"args":[1.5,"a"],"script":"echo ü","timeout":60}}'
    )
    signature = sign(KEY, JOB)
    assert signature.wire() == {
        "jobId": "job_1",
        "audience": "agt_1",
        "expiresAt": 2_000_000_000,
        "keyId": key_id(PUBLIC),
        "value": signature.value,
    }
    assert key_id(PUBLIC) == "56475aa75463474c"
    assert genuine(PUBLIC, base64.b64decode(signature.value), JOB)


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": "job_2"},
        {"audience": "agt_2"},
        {"audience": "pool:agt_1"},
        {"action_type": "script.python"},
        {"connection_id": None},
        {"connection_id": "web-2"},
        {"params": {**JOB.params, "script": "echo u\u0308"}},
        {"params": {**JOB.params, "timeout": 61}},
        {"params": {**JOB.params, "timeout": "60"}},
        {"params": {**JOB.params, "env": {}}},
        {"params": {**JOB.params, "args": ["a", 1.5]}},
        {"params": {**JOB.params, "args": [1.5000000000000002, "a"]}},
        {"idempotent": True},
        {"idempotent": False},
        {"expires_at": 2_000_000_001},
    ],
)
def test_any_change_is_another_job(change):
    value = base64.b64decode(sign(KEY, JOB).value)
    assert not genuine(PUBLIC, value, replace(JOB, **change))


def test_another_order_or_spelling_of_the_same_json_is_the_same_job():
    value = base64.b64decode(sign(KEY, JOB).value)
    same = {"args": [1.50, "a"], "timeout": 60.0, "script": "echo \u00fc"}
    assert genuine(PUBLIC, value, replace(JOB, params=same))


def test_another_key_and_a_flipped_bit_do_not_pass():
    value = bytearray(base64.b64decode(sign(KEY, JOB).value))
    assert not genuine(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), bytes(value), JOB)
    for place in range(0, 64, 7):
        flipped = bytearray(value)
        flipped[place] ^= 1
        assert not genuine(PUBLIC, bytes(flipped), JOB)


def test_what_json_cannot_carry_cannot_be_signed():
    with pytest.raises(NotCanonical):
        sign(KEY, replace(JOB, params={"n": 2**60}))
