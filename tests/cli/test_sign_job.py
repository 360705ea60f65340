from __future__ import annotations

import json
import time

import pytest

from cli.__main__ import main
from cli.signing_key import load
from easyalert.policy.signatures import Delivered, trusted_signature
from easyalert.protocol.ids import is_job_id, new_id
from easyalert.protocol.sealed import FORMAT, Addressed, seal
from easyalert.protocol.signing import key_id


@pytest.fixture
def key(tmp_path, capsys):
    file = tmp_path / "ops.key"
    main(["signing-key", str(file)])
    capsys.readouterr()
    return file


def sign(tmp_path, capsys, key, job, *more):
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job))
    code = main(["sign-job", str(file), "--key", str(key), *more])
    said = capsys.readouterr()
    return code, json.loads(said.out) if code == 0 else said.err


def trusted(key, body):
    public = load(key).public_key().public_bytes_raw()
    job = Delivered(
        body["signature"]["jobId"],
        body["actionType"],
        body.get("connectionId"),
        body.get("idempotent"),
        body["params"],
        body["signature"],
    )
    return trusted_signature(job, {key_id(public): public}, {"agt_1", "pool:default"}, time.time())


@pytest.mark.parametrize(
    ("job", "more", "audience"),
    [
        ({}, ["--pool", "default"], "pool:default"),
        ({}, ["--agent", "agt_1"], "agt_1"),
        ({"poolId": "default"}, [], "pool:default"),
        ({"agentId": "agt_1"}, [], "agt_1"),
        ({"agentId": "agt_2"}, ["--pool", "default"], "pool:default"),
        ({"connectionId": "c", "idempotent": True, "priority": 5}, ["--pool", "default"], "pool:default"),
    ],
)
def test_what_is_printed_is_ready_to_be_sent_and_trusted(tmp_path, capsys, key, job, more, audience):
    asked = {"actionType": "script.bash", "params": {"script": "echo ü"}, **job}
    code, body = sign(tmp_path, capsys, key, asked, *more)
    assert code == 0
    assert body["signature"]["audience"] == audience
    assert body.get("agentId", f"pool:{body.get('poolId')}") == audience
    assert body.get("priority") == job.get("priority")
    assert is_job_id(body["signature"]["jobId"])
    assert trusted(key, body).audience == audience
    assert 3590 < body["signature"]["expiresAt"] - time.time() <= 3600


def test_every_signature_is_for_a_job_of_its_own(tmp_path, capsys, key):
    job = {"actionType": "a.b", "poolId": "default"}
    ids = {sign(tmp_path, capsys, key, job)[1]["signature"]["jobId"] for _ in range(3)}
    assert len(ids) == 3


def test_a_job_with_something_sealed_in_it_keeps_the_id_it_was_sealed_for(tmp_path, capsys, key):
    public = bytes([9]) + bytes(31)
    expires_at = int(time.time()) + 600
    to = Addressed("params", "agt_1", new_id("job", time.time()), "script.bash", None, expires_at)
    job = {"actionType": "script.bash", "agentId": "agt_1", "params": seal(public, to, {"script": "x"}).wire()}
    code, body = sign(tmp_path, capsys, key, job)
    assert (code, body["signature"]["jobId"]) == (0, to.job_id)
    assert trusted(key, body)
    code, said = sign(tmp_path, capsys, key, job, "--pool", "default")
    assert code == 1
    assert "opens on one agent only: give --agent agt_1" in said
    code, said = sign(tmp_path, capsys, key, {**job, "params": {FORMAT: {}}})
    assert code == 1
    assert "what is sealed in the job is malformed" in said


def test_a_time_limit_is_signed_where_it_is_sent(tmp_path, capsys, key):
    job = {"actionType": "a.b", "poolId": "default", "timeout": 60, "params": {"headers": None}}
    _, body = sign(tmp_path, capsys, key, job, "--for", "15m")
    assert body["params"] == {"timeout": 60}
    assert "timeout" not in body
    assert body["signature"]["expiresAt"] - time.time() <= 900
    assert trusted(key, body)


@pytest.mark.parametrize(
    ("job", "more", "code", "says"),
    [
        ({"actionType": "a.b"}, [], 1, "give --agent ID or --pool ID"),
        ({"actionType": "a.b", "agentId": "a", "poolId": "b"}, [], 1, "one agent or one pool"),
        ({"actionType": "a.b", "poolId": 5}, [], 1, "one agent or one pool"),
        ({"actionType": "a.b", "poolId": "p", "timeout": "60"}, [], 1, "timeout must be a number"),
        ({"actionType": "a.b", "poolId": "p", "params": {"n": 2**60}}, [], 1, "cannot be signed: a whole number"),
        ({"actionType": "a.b", "poolId": "p", "params": {"n": float("nan")}}, [], 1, "cannot be signed"),
        ({"actionType": "a.b", "poolId": "p"}, ["--for", "32d"], 2, "31 days at most"),
        ({"actionType": "a.b", "poolId": "p"}, ["--for", "soon"], 2, "is no span of time"),
        ([], [], 1, "is no job"),
    ],
)
def test_what_cannot_be_signed_is_said(tmp_path, capsys, key, job, more, code, says):
    got, err = sign(tmp_path, capsys, key, job, *more)
    assert got == code
    assert says in err
    assert "Traceback" not in err


def test_without_a_key_the_command_that_makes_one_is_named(tmp_path, capsys):
    code, err = sign(tmp_path, capsys, tmp_path / "no.key", {"actionType": "a.b", "poolId": "p"})
    assert code == 2
    assert "easyalert-agent signing-key" in err
