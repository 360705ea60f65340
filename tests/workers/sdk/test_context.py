from __future__ import annotations

import pytest

from easyalert.errors import CredentialError, WrongKey
from workers.sdk import Context


def context(tmp_path, **fields):
    return Context(**{"job_id": "job_1", "action_type": "odd.x", "connection_id": "web", "params": {}, "timeout_s": 30,
                      "tmp_dir": tmp_path, "mark": "job_1@x", **fields})  # fmt: skip


def test_the_deadline_is_the_time_limit_from_now(tmp_path):
    now = [100.0]
    ctx = context(tmp_path, clock=lambda: now[0])
    assert ctx.remaining() == 30
    assert ctx.stopped() is None
    now[0] = 130.0
    assert ctx.remaining() == 0
    assert ctx.stopped() == "timed_out"
    now[0] = 500.0
    assert ctx.remaining() == 0


def test_a_cancelled_job_is_cancelled_even_when_it_is_late_too(tmp_path):
    assert context(tmp_path, cancelled=lambda: True, clock=lambda: 9e9, deadline=1.0).stopped() == "cancelled"


def test_a_credential_is_read_once_and_redacted_from_then_on(tmp_path):
    reads = []

    def read(connection_id):
        reads.append(connection_id)
        return {"password": "correct-horse"}

    ctx = context(tmp_path, read_credential=read, known_secrets=("agent-secret",))
    assert ctx.redactor.text("correct-horse agent-secret") == "correct-horse [REDACTED]"
    assert ctx.credential() == ctx.require_credential() == {"password": "correct-horse"}
    assert reads == ["web"]
    assert ctx.redactor.text("correct-horse agent-secret") == "[REDACTED] [REDACTED]"


def test_without_a_connection_nothing_is_read(tmp_path):
    ctx = context(tmp_path, connection_id=None, read_credential=lambda _: pytest.fail("read"))
    assert ctx.credential() is None
    with pytest.raises(CredentialError, match=r"odd\.x needs a connectionId"):
        ctx.require_credential()


def test_a_missing_credential_names_the_connection_and_what_adds_it(tmp_path):
    with pytest.raises(CredentialError, match=r"'web'.*PUT /connections"):
        context(tmp_path).require_credential()


def test_a_vault_that_fails_says_so_itself(tmp_path):
    def read(_):
        raise WrongKey("locked")

    with pytest.raises(WrongKey):
        context(tmp_path, read_credential=read).credential()
