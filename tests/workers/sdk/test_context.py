import os
from pathlib import Path

import pytest

from easyalert.errors import CredentialError, WrongKey
from workers.sdk import Context


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def context(**changes):
    fields = {
        "job_id": "job_1",
        "action_type": "ssh.executeCommand",
        "connection_id": "conn-web-01",
        "params": {"command": "secret-in-params"},
        "timeout_s": 60,
        "tmp_dir": Path("/nowhere"),
        "mark": "mark-1",
    }
    return Context(**{**fields, **changes})


def test_the_deadline_runs_from_construction():
    clock = Clock()
    ctx = context(clock=clock)
    assert (ctx.remaining(), ctx.stopped()) == (60.0, None)
    clock.now += 59.9
    assert ctx.stopped() is None
    clock.now += 0.1
    assert (ctx.remaining(), ctx.stopped()) == (0.0, "timed_out")
    clock.now += 10
    assert ctx.remaining() == 0.0


def test_a_given_deadline_is_kept():
    assert context(clock=Clock(), deadline=105.0).remaining() == 5.0


def test_cancelling_is_seen_and_comes_first():
    clock, cancelled = Clock(), []
    ctx = context(clock=clock, cancelled=lambda: bool(cancelled))
    assert ctx.stopped() is None
    cancelled.append(True)
    clock.now += 100
    assert ctx.stopped() == "cancelled"


def test_the_credential_is_read_once_and_redacted_from_then_on():
    asked = []

    def read(connection_id):
        asked.append(connection_id)
        return {"username": "deploy", "nested": {"password": "hunter2-secret"}}

    ctx = context(read_credential=read, known_secrets=("the-agents-own-key",))
    assert ctx.redactor.text("hunter2-secret the-agents-own-key") == "hunter2-secret [REDACTED]"
    assert ctx.credential()["username"] == "deploy"
    assert ctx.require_credential() is ctx.credential()
    assert asked == ["conn-web-01"]
    assert ctx.redactor.text("hunter2-secret the-agents-own-key") == "[REDACTED] [REDACTED]"


def test_a_job_without_a_connection_reads_nothing():
    ctx = context(connection_id=None, read_credential=lambda _: pytest.fail("asked the vault"))
    assert ctx.credential() is None
    with pytest.raises(CredentialError, match=r"ssh\.executeCommand needs a connectionId"):
        ctx.require_credential()


def test_a_missing_credential_names_the_connection_and_the_way_to_add_it():
    with pytest.raises(CredentialError, match="connection 'conn-web-01'; deliver it"):
        context().require_credential()


def test_a_vault_that_cannot_be_read_is_asked_again():
    answers = [WrongKey("the key does not open it"), {"token": "secret-token"}]

    def read(_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ctx = context(read_credential=read)
    with pytest.raises(WrongKey):
        ctx.credential()
    assert ctx.credential() == {"token": "secret-token"}


def test_its_text_shows_no_secret():
    ctx = context(read_credential=lambda _: {"password": "hunter2-secret"}, known_secrets=("the-agents-own-key",))
    ctx.credential()
    shown = f"{ctx!r} {ctx}"
    assert "job_1" in shown
    assert not any(secret in shown for secret in ("hunter2", "agents-own-key", "secret-in-params"))


def test_names_of_temporary_files_say_whose_they_are():
    assert context().temporary_prefix == f"easyalert_{os.getpid()}_"
