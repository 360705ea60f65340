import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from easyalert.journal import Journal, NewJob
from easyalert.sealing import PrivateKey, seal_info
from poller.intake import read_job, read_jobs
from tests.fuzz.conftest import TEXTS, VALUES, at_once, bounded, nested

PRIVATE = PrivateKey(X25519PrivateKey.generate())
FIELDS = (
    "jobId", "actionType", "connectionId", "params", "attempt", "leaseSeconds", "startWithinSeconds", "idempotent", "createdAt", "deadline", "signature",
)  # fmt: skip
entries = (
    VALUES
    | st.dictionaries(st.sampled_from(FIELDS), VALUES)
    | st.fixed_dictionaries({"jobId": TEXTS, "actionType": TEXTS}, optional=dict.fromkeys(FIELDS[2:], VALUES))
)


def read(entry, **flags):
    return read_job(entry, key=PRIVATE.public, **{"extended": True, "ack": True, **flags})


@bounded(200)
@given(st.lists(entries, max_size=4), st.booleans(), st.booleans())
def test_whatever_the_control_plane_sends_each_entry_is_judged_by_itself(sent, extended, ack):
    with at_once():
        jobs = read_jobs(sent, key=PRIVATE.public, extended=extended, ack=ack)
    alone = [job for entry in sent if (job := read(entry, extended=extended, ack=ack))]
    assert [job.job_id for job in jobs] == [job.job_id for job in alone]
    for job in jobs:
        assert isinstance(job, NewJob)
        assert job.job_id.encode()
        assert 0 < job.timeout_s <= 3600
        if job.refusal is None:
            assert isinstance(json.loads(PRIVATE.open(job.sealed, seal_info(job.job_id))), dict)
        else:
            json.dumps(job.refusal, allow_nan=False).encode()


@bounded(40)
@given(st.lists(entries, min_size=1, max_size=4))
def test_whatever_was_read_can_be_written_down(tmp_path_factory, sent):
    path = tmp_path_factory.getbasetemp() / "fuzz-jobs.sqlite3"
    jobs = read_jobs(sent, key=PRIVATE.public, extended=True, ack=True)
    journal = Journal(path)
    try:
        with at_once():
            taken = journal.take(jobs)
        assert len(taken) == len({job.key for job in jobs}) or len(taken) == len(jobs)
        assert all(journal.get(job.key) for job in jobs)
    finally:
        journal.close()


@pytest.mark.parametrize("levels", [100, 900, 5000, 100_000])
def test_deep_parameters(levels):
    with at_once():
        job = read({"jobId": "j", "actionType": "a.b", "params": {"deep": nested(levels)}})
    assert job.job_id == "j"
