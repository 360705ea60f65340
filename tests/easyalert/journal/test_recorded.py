"""What the journal's steps leave to be recorded: in the same transaction, and only when the step was made."""

from __future__ import annotations

import pytest

from easyalert.journal import Journal, State
from easyalert.journal.pause import (
    lift_rekey_pause,
    local_pause,
    pause_for_rekey,
    pause_here,
    rekey_pause,
    resume_here,
)
from easyalert.runtime import ProcessIdentity
from tests.easyalert.journal.conftest import new_job

OWNER = ProcessIdentity("boot", 7, 70)
RESULT = {"jobId": "a", "status": "success", "output": None, "error": None, "exitCode": 0, "durationMs": 5}


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.sqlite3") as journal:
        yield journal


REQUESTER_UNKNOWN = "unknown (not said by the control plane)"


def waiting(journal):
    return [(row.kind, row.fields) for row in journal.audit_waiting(100)]


def kinds(journal):
    return [kind for kind, _ in waiting(journal)]


def test_a_run_leaves_its_start_and_its_end(journal):
    journal.take([new_job("a")])
    assert journal.start("a", OWNER, policy="allowed by rule 3")
    assert journal.finish("a", RESULT, owner=OWNER, params_digest="d" * 64, audited=("credential.stored", {"by": "a"}))
    (start, stored, end) = waiting(journal)
    assert start == (
        "job.started",
        {"jobId": "a", "attempt": None, "action": "script.bash", "connectionId": None, "run": 1}
        | {"policy": "allowed by rule 3", "signature": None, "requestedBy": REQUESTER_UNKNOWN},
    )
    assert stored == ("credential.stored", {"by": "a"})
    assert end[0] == "job.ended"
    assert {name: end[1][name] for name in ("outcome", "status", "exitCode", "ran", "paramsDigest")} == {
        "outcome": "finished",
        "status": "success",
        "exitCode": 0,
        "ran": True,
        "paramsDigest": "d" * 64,
    }


def test_a_refused_job_leaves_why_and_that_it_did_not_run(journal):
    journal.take([new_job("a", attempt=1)])
    assert journal.refuse("a", {**RESULT, "status": "error"}, "job", policy="policy: [[deny]] 'x'", params_digest="d")
    refused, end = waiting(journal)
    named = {"jobId": "a", "attempt": 1, "action": "script.bash", "connectionId": None}
    named["requestedBy"] = REQUESTER_UNKNOWN
    assert refused == ("job.refused", {**named, "policy": "policy: [[deny]] 'x'"})
    assert (end[0], end[1]["ran"], end[1]["status"], end[1]["paramsDigest"]) == ("job.ended", False, "error", "d")
    assert not journal.refuse("a", RESULT, "job", policy="again")
    assert len(waiting(journal)) == 2


def test_a_clock_that_was_set_stands_between_the_times_it_divides(tmp_path):
    wall = [1000.0]
    with Journal(tmp_path / "journal.sqlite3", wall_clock=lambda: wall[0], monotonic=lambda: 0) as journal:
        journal.follow_clock()
        journal.audit_now("before", {})
        wall[0] += 86_400
        journal.follow_clock()
        journal.follow_clock()
        found = journal.audit_waiting(10)
    assert [(row.kind, row.at, row.fields) for row in found] == [
        ("before", 1000.0, {}),
        ("clock.set", 87_400.0, {"seconds": 86_400.0}),
    ]


def test_a_step_that_is_not_made_leaves_nothing(journal):
    journal.take([new_job("a")])
    journal.start("a", OWNER)
    assert journal.start("a", OWNER) is None
    before = kinds(journal)
    assert not journal.finish("a", RESULT, owner=ProcessIdentity("boot", 8, 80))
    assert journal.cancel("unknown", "Ada") is None
    assert kinds(journal) == before


def test_a_result_that_is_somebody_elses_to_end_records_no_credential_either(journal):
    journal.take([new_job("a")])
    journal.start("a", OWNER)
    other = ProcessIdentity("boot", 8, 80)
    journal.finish("a", RESULT, owner=other, audited=("credential.stored", {"by": "a"}))
    assert "credential.stored" in kinds(journal), "it was stored, whoever ended the row"


def test_every_end_is_recorded(journal):
    for name in ("died", "again", "cancelled", "waiting"):
        journal.take([new_job(name)])
    for name in ("died", "again", "cancelled"):
        journal.start(name, OWNER)
    journal.cancel("cancelled", "Ada")
    journal.cancel("cancelled", "Bob")
    journal.cancel("waiting", "Ada")
    rows = {row.key: row for row in journal.running()}
    assert journal.owner_died(rows["died"], run_again=False, params_digest="d") is State.IN_DOUBT
    assert journal.owner_died(rows["again"], run_again=True, params_digest="d") is State.QUEUED
    assert journal.owner_died(rows["cancelled"], run_again=False, params_digest="d") is State.CANCELLED
    found = [
        (kind, fields["jobId"], fields.get("outcome") or fields.get("by") or fields.get("run"), fields.get("ran"))
        for kind, fields in waiting(journal)
        if kind != "job.started"
    ]
    assert found == [
        ("job.cancel", "cancelled", "Ada", None),
        ("job.ended", "waiting", "cancelled", False),
        ("job.cancel", "waiting", "Ada", None),
        ("job.ended", "died", "in_doubt", True),
        ("job.interrupted", "again", 1, None),
        ("job.ended", "cancelled", "cancelled", True),
    ]


def test_pausing_and_resuming_are_recorded_with_who(journal):
    pause_here(journal, 0, reason="disk", until=60, by="Ada")
    resume_here(journal, by="Bob")
    assert waiting(journal) == [
        ("agent.paused", {"by": "Ada", "reason": "disk", "until": "1970-01-01T00:01:00Z"}),
        ("agent.resumed", {"by": "Bob"}),
    ]


def test_what_was_moved_is_forgotten_and_numbers_are_not_used_again(journal):
    journal.audit_now("a", {})
    (first,) = journal.audit_waiting(10)
    journal.audit_moved(first.number, "auditHead", {"seq": 1, "hash": "x"})
    assert journal.audit_waiting(10) == []
    journal.audit_now("b", {})
    assert journal.audit_waiting(10)[0].number > first.number
    assert journal.identity() == journal.identity()


# ---- the pause of a rekey


def test_a_rekey_lets_nothing_start_until_a_key_opens_the_vault(journal):
    journal.take([new_job("a")])
    pause_for_rekey(journal, 0, by="Ada")
    assert journal.start("a", OWNER) is None
    resume_here(journal)
    assert local_pause(journal, 0) == rekey_pause(journal)
    assert not lift_rekey_pause(journal, lambda: False)
    assert journal.start("a", OWNER) is None
    assert lift_rekey_pause(journal, lambda: True)
    assert journal.start("a", OWNER)
    assert not lift_rekey_pause(journal, lambda: True)


def test_a_pause_asked_for_outlives_that_of_a_rekey(journal):
    pause_here(journal, 0, reason="disk", until=None, by="Ada")
    pause_for_rekey(journal, 0, by="Ada")
    assert local_pause(journal, 0).reason == "disk"
    lift_rekey_pause(journal, lambda: True)
    assert local_pause(journal, 0).reason == "disk"


def test_a_rekey_that_comes_while_the_key_is_tried_is_not_lifted(journal):
    pause_for_rekey(journal, 0, by="Ada")

    def rekeyed_again():
        pause_for_rekey(journal, 1, by="Ada")
        return True

    assert not lift_rekey_pause(journal, rekeyed_again)
    assert rekey_pause(journal)
