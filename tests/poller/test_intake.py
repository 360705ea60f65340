from __future__ import annotations

import json
import logging

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from easyalert.journal import Journal
from easyalert.protocol.limits import JOB_PARAMS_MAX_CHARS
from easyalert.sealing import PrivateKey, seal_info
from poller.intake import read_job, read_jobs

PRIVATE = PrivateKey(X25519PrivateKey.generate())


def read(entry, *, extended=False, ack=False):
    return read_job(entry, key=PRIVATE.public, extended=extended, ack=ack)


def entry(**changes):
    return {"jobId": "job_1", "actionType": "script.bash", "params": {"command": "uptime"}, **changes}


def opened(job):
    return json.loads(PRIVATE.open(job.sealed, seal_info(job.job_id)))


def test_a_job_of_the_base_protocol():
    job = read(entry(connectionId="conn-1", params={"command": "ü", "timeout": "60"}))
    assert (job.job_id, job.action, job.connection_id, job.timeout_s) == ("job_1", "script.bash", "conn-1", 60)
    assert (job.attempt, job.needs_ack, job.lease_s, job.idempotent) == (None, False, None, None)
    assert job.start_within_s == 900
    assert opened(job) == {"command": "ü", "timeout": "60"}
    assert b"command" not in job.sealed
    assert job.refusal is None


@pytest.mark.parametrize("params", [{}, {"params": None}])
def test_missing_or_null_params_are_an_empty_object(params):
    raw = entry()
    del raw["params"]
    job = read(raw | params)
    assert job.refusal is None
    assert opened(job) == {}
    assert job.timeout_s == 300


@pytest.mark.parametrize("raw", [None, "text", 7, 1.5, True, [], [entry()], {}, {"jobId": None}, {"jobId": ""}])
@pytest.mark.parametrize("more", [{"jobId": 7}, {"jobId": "\ud800"}, {"jobId": ["job_1"]}])
def test_what_cannot_be_answered_is_dropped_and_its_neighbours_are_not(raw, more, caplog):
    entries = [entry(jobId="a"), raw, entry(jobId="b"), entry(**more), entry(jobId="c")]
    jobs = read_jobs(entries, key=PRIVATE.public, extended=False, ack=False)
    assert [job.job_id for job in jobs] == ["a", "b", "c"]
    assert len(caplog.records) == 2


def test_a_job_without_an_id_never_gets_one(caplog):
    jobs = read_jobs([{"actionType": "a.b"}, {"actionType": "a.b"}], key=PRIVATE.public, extended=True, ack=True)
    assert jobs == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"params": []}, "params"),
        ({"params": "text"}, "params"),
        ({"params": {"a": float("nan")}}, "params"),
        ({"params": {"a": "\ud800"}}, "params"),
        ({"params": {"a": "x" * JOB_PARAMS_MAX_CHARS}}, "10485760"),
        ({"actionType": None}, "actionType"),
        ({"actionType": 7}, "actionType"),
        ({"actionType": ""}, "actionType"),
        ({"actionType": "\udfff"}, "actionType"),
        ({"actionType": "x" * 1_000}, "actionType"),
        ({"connectionId": 7}, "connectionId"),
        ({"connectionId": "\ud800"}, "connectionId"),
    ],
)
def test_a_job_that_cannot_run_is_refused_with_a_reason(changes, word):
    job = read(entry(**changes))
    assert job.refusal is not None
    assert job.refusal["jobId"] == "job_1"
    assert (job.refusal["status"], job.refusal["exitCode"], job.refusal["output"]) == ("error", -1, None)
    assert job.refusal["durationMs"] == 0
    assert job.refusal["error"].startswith("refused: ")
    assert word in job.refusal["error"]
    assert job.sealed == b""


def test_the_size_limit_counts_characters_of_the_json():
    around = len(json.dumps({"a": ""}, separators=(",", ":")))
    fits = "ü" * (JOB_PARAMS_MAX_CHARS - around)
    assert read(entry(params={"a": fits})).refusal is None
    assert read(entry(params={"a": fits + "ü"})).refusal is not None


def test_params_are_neither_in_the_refusal_nor_in_the_log(caplog):
    caplog.set_level(logging.DEBUG)
    job = read(entry(params={"password": "hunter2", "bad": float("inf")}, connectionId=["s3cret"]))
    assert "hunter2" not in json.dumps(job.refusal) + caplog.text
    assert "s3cret" not in json.dumps(job.refusal) + caplog.text


def test_ids_cannot_forge_log_lines(caplog):
    read(entry(jobId="x\n2026-01-01 [ERROR] forged", params=3))
    assert "\n2026" not in caplog.records[0].getMessage()


def test_extension_fields_mean_nothing_to_a_plain_server():
    extra = {"attempt": "first", "leaseSeconds": {}, "idempotent": "maybe", "startWithinSeconds": -1}
    job = read(entry(**extra))
    assert job.refusal is None
    assert (job.attempt, job.needs_ack, job.idempotent, job.start_within_s) == (None, False, None, 900)


def test_extension_fields_where_negotiated():
    job = read(entry(attempt=2, leaseSeconds=60, idempotent=True, startWithinSeconds=5), extended=True, ack=True)
    assert (job.attempt, job.needs_ack, job.lease_s, job.idempotent) == (2, True, 60, True)
    assert job.start_within_s == 5
    assert not read(entry(attempt=2), extended=True, ack=False).needs_ack


def test_a_refusal_carries_its_attempt_and_needs_no_permit():
    job = read(entry(attempt=3, params=7), extended=True, ack=True)
    assert (job.attempt, job.needs_ack) == (3, False)
    assert job.refusal is not None


def test_unknown_fields_are_ignored():
    assert read(entry(colour="green", nested={"a": 1}), extended=True).refusal is None


@pytest.mark.parametrize("attempt", [-1, 2**63, 10**40])
def test_an_attempt_nobody_can_count_to_is_refused_and_can_be_written_down(attempt, tmp_path):
    """With a second fault and without: the journal's columns hold 64 bits."""
    jobs = [read(entry(attempt=attempt, **more), extended=True) for more in ({}, {"actionType": ""})]
    assert [job.refusal["error"].split(":")[0] for job in jobs] == ["refused", "refused"]
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert journal.take(jobs[:1])
        assert journal.take(jobs[1:])


@pytest.mark.parametrize("field", ["leaseSeconds", "startWithinSeconds"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf"), 1e300, -5, 10**30])
def test_spans_of_time_beyond_the_clock_are_bounded(field, value, tmp_path):
    job = read(entry(attempt=1, **{field: value}), extended=True, ack=True)
    assert 0 <= (job.lease_s or 0) <= 86_400
    assert 0 <= job.start_within_s <= 604_800
    with Journal(tmp_path / "journal.sqlite3") as journal:
        assert journal.take([job])


# ---- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signature", [{"jobId": "job_1", "value": "x", "odd": [1, None, 1.5]}, "text", 7, []])
def test_a_signature_is_kept_as_it_came(signature):
    job = read(entry(signature=signature), extended=True)
    assert job.refusal is None, "the worker judges it, and says so"
    assert job.signature == signature


def test_without_extensions_there_is_no_signature():
    assert read(entry(signature={"value": "x"})).signature is None
    assert read(entry(signature=None), extended=True).signature is None


@pytest.mark.parametrize(
    ("signature", "says"), [({"value": "x" * 5000}, "larger than 4096 bytes"), ({"v": "\ud800"}, "JSON cannot carry")]
)
def test_a_signature_nobody_could_keep_is_the_jobs_refusal(signature, says):
    job = read(entry(signature=signature), extended=True)
    assert says in job.refusal["error"]


JOB = {"jobId": "job_1", "actionType": "script.bash", "connectionId": None, "params": {}, "attempt": 1}


def test_who_asked_for_it_is_kept_where_the_control_plane_speaks_of_that():
    job = {**JOB, "requestedBy": " Ada (tok_1) "}
    assert read(job, extended=True).requested_by == "Ada (tok_1)"
    assert read(job, extended=False).requested_by is None, "a plain server's field of that name means something else"
    assert read({**JOB, "requestedBy": None}, extended=True).requested_by is None
    assert read(JOB, extended=True).requested_by is None
    refused = read({**job, "params": 5}, extended=True)
    assert refused.refusal is not None
    assert refused.requested_by == "Ada (tok_1)"


@pytest.mark.parametrize(
    "name",
    ["", "  ", "a\nb", "\x1b[2J", "a\0", "\u202eadA", "\u2028", "\ud800", "a" * 201, 5, ["Ada"], {"name": "Ada"}],
)
def test_a_name_that_would_forge_lines_of_the_record_is_refused(name):
    job = read({**JOB, "requestedBy": name}, extended=True)
    assert "requestedBy" in job.refusal["error"]
    assert job.requested_by is None
