from __future__ import annotations

from tests.workers.oddities import Odd
from workers.sdk.harness import CONNECTION_ID, SECRET, Harness


def test_it_records_as_the_worker_does(tmp_path):
    ran = Harness(Odd(), tmp_path, credential={"password": "correct-horse"}).run("leak", {})
    assert ran.recorded["output"]["seen"] == "[REDACTED]"
    assert "correct" not in ran.error
    assert "correct-horse" in ran.result.error
    assert ran.ctx.connection_id == CONNECTION_ID


def test_the_agents_own_secrets_are_redacted(tmp_path):
    assert Harness(Odd(), tmp_path).context("nan", {}).redactor.text(SECRET) == "[REDACTED]"


def test_a_credential_belongs_to_its_connection(tmp_path):
    harness = Harness(Odd(), tmp_path, credential={"password": "correct-horse"})
    assert "no credential" in harness.run("leak", {}, connection_id="another").error
    assert "needs a connectionId" in harness.run("leak", {}, connection_id=None).error


def test_failures_are_results(tmp_path):
    assert "unexpected ValueError" in Harness(Odd(), tmp_path).run("raise", {}).error
    assert Harness(Odd(), tmp_path).run("count", {"n": 1}).error == ""
