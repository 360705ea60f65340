from __future__ import annotations

import json

import pytest

from easyalert.journal import Journal
from easyalert.runtime import this_process
from poller.results import report_of
from tests.poller.conftest import new_job, result

BASE = {"jobId", "status", "output", "error", "exitCode", "durationMs"}


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        yield journal


def ended(journal, found, *, attempt=None, **how):
    job = new_job("job_1", attempt=attempt)
    journal.take([job])
    journal.start(job.key, this_process())
    journal.finish(job.key, found, **how)
    return journal.get(job.key)


def sent(row, *, receipts):
    return json.loads(report_of(row, receipts=receipts).body)


def test_a_plain_server_gets_the_contracts_fields_only(journal):
    row = ended(
        journal, result("job_1", output={"a": "ü"}, colour="green"), attempt=4, outcome="timed_out", fault="job"
    )
    document = sent(row, receipts=False)
    assert set(document) == BASE
    assert document["output"] == {"a": "ü"}
    assert "ü".encode() in report_of(row, receipts=False).body


def test_missing_fields_are_completed(journal):
    assert sent(ended(journal, {"status": "success"}), receipts=False) == {
        "jobId": "job_1",
        "status": "success",
        "output": None,
        "error": None,
        "exitCode": -1,
        "durationMs": 0,
    }


def test_with_receipts_the_extension_fields_too(journal):
    row = ended(journal, result("job_1", status="error"), attempt=4, outcome="timed_out", fault="target")
    document = sent(row, receipts=True)
    assert (document["attempt"], document["outcome"], document["fault"]) == (4, "timed_out", "target")
    times = document["timings"]
    assert 0 <= times["startedMs"] <= times["finishedMs"] <= times["reportedMs"]
    assert "acknowledgedMs" not in times


@pytest.mark.parametrize("receipts", [False, True])
def test_half_a_character_in_a_result_does_not_stop_it(journal, receipts):
    row = ended(journal, result("job_1", output={"stdout": "a\ud800b"}, error="\udfff"))
    assert sent(row, receipts=receipts)["output"] == {"stdout": "a?b"}


def test_deep_nesting_does_not_stop_it(journal):
    deep = []
    for _ in range(500):
        deep = [deep]
    assert sent(ended(journal, result("job_1", output=deep)), receipts=False)["jobId"] == "job_1"


def test_that_another_agent_may_run_it_is_told_where_receipts_are_spoken_and_nowhere_else(journal):
    row = ended(journal, result("job_1", status="error", repeatable=True), attempt=2)
    assert sent(row, receipts=True)["repeatable"] is True
    assert set(sent(row, receipts=False)) == BASE
