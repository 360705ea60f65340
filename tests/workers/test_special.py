from __future__ import annotations

import json

import pytest

from easyalert.errors import Fault
from vault import Vault, VaultKey
from workers.sdk import Context, envelope
from workers.special import Delivery, run_special

HTTPS = "https://control.example/prefix"


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "vault.json", VaultKey("ea_agent_key"))


def run(vault, tmp_path, action, params=None, *, connection_id=None, url=HTTPS):
    ctx = Context("job_1", action, connection_id, params or {}, 30, tmp_path, "job_1@x")
    result = run_special(ctx, vault, Delivery(url, sealed_only=False, open_sealed=lambda *_: None))
    return result, envelope("job_1", result, ctx.redactor, 1)


def test_a_connection_with_credentials_passes(vault, tmp_path):
    vault.put("web-01", {"token": "t"})
    _, recorded = run(vault, tmp_path, "connection.test", connection_id="web-01")
    assert (recorded["status"], recorded["exitCode"]) == ("success", 0)
    assert "web-01" in recorded["output"]["message"]


def test_a_connection_without_credentials_fails_with_a_message(vault, tmp_path):
    _, recorded = run(vault, tmp_path, "connection.test", connection_id="web-01")
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert set(recorded["output"]) == {"message"}


def test_credentials_that_do_not_open_fail_the_same_way(vault, tmp_path):
    vault.put("web-01", {"token": "t"})
    locked = Vault(tmp_path / "vault.json", VaultKey("another key"))
    _, recorded = run(locked, tmp_path, "connection.test", connection_id="web-01")
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert "AGENT_API_KEY" in recorded["output"]["message"]


@pytest.mark.parametrize("connection_id", [None, ""])
def test_a_test_without_a_connection_is_the_jobs_fault(vault, tmp_path, connection_id):
    result, recorded = run(vault, tmp_path, "connection.test", connection_id=connection_id)
    assert (recorded["status"], recorded["exitCode"], recorded["output"]) == ("error", -1, None)
    assert result.fault is Fault.JOB


def test_credentials_are_stored_and_replace_the_whole_entry(vault, tmp_path):
    vault.put("web-01", {"old": "field"})
    params = {"connectionId": "web-01", "credentials": {"host": "10.0.0.5", "port": 22}}
    _, recorded = run(vault, tmp_path, "system.storeCredential", params, connection_id="ignored")
    assert (recorded["status"], recorded["exitCode"]) == ("success", 0)
    assert "message" in recorded["output"]
    assert vault.get("web-01") == {"host": "10.0.0.5", "port": 22}
    assert vault.names() == ["web-01"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"connectionId": "", "credentials": {"a": "b"}},
        {"connectionId": 5, "credentials": {"a": "b"}},
        {"connectionId": "x", "credentials": {}},
        {"connectionId": "x", "credentials": "text"},
        {"connectionId": "x", "credentials": None},
        {"connectionId": "x", "credentials": ["a"]},
    ],
)
def test_missing_values_are_refused(vault, tmp_path, params):
    _, recorded = run(vault, tmp_path, "system.storeCredential", params)
    assert (recorded["status"], recorded["exitCode"], recorded["output"]) == ("error", -1, None)
    assert vault.names() == []


def test_an_impossible_id_is_a_failed_write_in_general_words(vault, tmp_path):
    params = {"connectionId": "../etc", "credentials": {"password": "very-secret-value"}}
    _, recorded = run(vault, tmp_path, "system.storeCredential", params)
    assert (recorded["status"], recorded["exitCode"]) == ("error", 1)
    assert "very-secret-value" not in json.dumps(recorded)
    assert str(tmp_path) not in json.dumps(recorded)


def test_plain_http_to_another_machine_is_refused(vault, tmp_path):
    params = {"connectionId": "web-01", "credentials": {"a": "b"}}
    result, recorded = run(vault, tmp_path, "system.storeCredential", params, url="http://control.example")
    assert (recorded["status"], recorded["exitCode"]) == ("error", -1)
    assert result.fault is Fault.AGENT
    assert vault.names() == []
