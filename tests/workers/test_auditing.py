"""What ran is in the record, whatever became of the worker; and a rekeyed vault lets nothing start until a restart."""

from __future__ import annotations

import json
import os
import signal

import pytest

from easyalert.audit import verify
from easyalert.audit.verify import entries
from easyalert.journal import State
from easyalert.journal.pause import local_pause
from easyalert.queues import agent_queue, queued_keys
from easyalert.rotation import Rotation
from easyalert.sealing import load_private_key
from heartbeat.components import noted
from tests.support.agent_home import API_KEY
from tests.support.waiting import eventually
from vault import Vault, VaultKey

pytestmark = pytest.mark.system

NEW = "ea_agent_after_the_rotation"
SECRET = "not-to-be-seen-4417"


def recorded(chain, kind, job, within=30.0):
    """The entry, once it is in the record."""
    folder = chain.home.settings.audit_dir

    def probe():
        return [e for e in entries(folder) if (e["kind"], e.get("jobId")) == (kind, job)]

    return eventually(probe, within=within, what=f"{kind} of {job} in the record")[0]


def test_a_job_is_recorded_with_its_start_its_end_and_a_digest_of_its_parameters(make_chain):
    chain = make_chain()
    script = f"echo {SECRET}; exit 3"
    first, again = chain.bash(script, connection_id="web-1"), chain.bash(script, connection_id="web-1")
    other = chain.bash("true")
    start, end = recorded(chain, "job.started", first), recorded(chain, "job.ended", first)
    assert (start["action"], start["connectionId"], start["run"], start["policy"]) == ("script.bash", "web-1", 1, None)
    assert (end["outcome"], end["status"], end["exitCode"], end["ran"]) == ("finished", "error", 3, True)
    assert start["at"] <= end["at"]
    key = load_private_key(chain.home.settings.agent_key_path, [API_KEY])
    assert end["paramsDigest"] == key.digest(json.dumps({"script": script}).encode())
    assert recorded(chain, "job.ended", again)["paramsDigest"] == end["paramsDigest"]
    assert recorded(chain, "job.ended", other)["paramsDigest"] != end["paramsDigest"]
    folder = chain.home.settings.audit_dir
    assert verify(folder).broken is None
    assert all(SECRET.encode() not in path.read_bytes() for path in folder.iterdir())


def test_a_stored_credential_is_recorded_by_name(make_chain):
    chain = make_chain()
    params = {"connectionId": "db-1", "credentials": {"password": SECRET}}
    job = chain.send("system.storeCredential", params)
    recorded(chain, "job.ended", job)
    (stored,) = [e for e in entries(chain.home.settings.audit_dir) if e["kind"] == "credential.stored"]
    assert (stored["connectionId"], stored["by"]) == ("db-1", f"job {job}")
    assert all(SECRET.encode() not in path.read_bytes() for path in chain.home.settings.audit_dir.iterdir())


def test_a_killed_worker_takes_nothing_out_of_the_record(make_chain):
    chain = make_chain()
    job = chain.bash("sleep 60")
    row = chain.until(job, lambda row: row.state is State.STARTED)
    os.kill(row.owner.pid, signal.SIGKILL)
    end = recorded(chain, "job.ended", job)
    key = load_private_key(chain.home.settings.agent_key_path, [API_KEY])
    assert (end["outcome"], end["ran"]) == ("in_doubt", True)
    assert end["paramsDigest"] == key.digest(json.dumps({"script": "sleep 60"}).encode())
    recorded(chain, "job.started", job)
    assert verify(chain.home.settings.audit_dir).broken is None


def test_a_cancelled_job_is_recorded_with_who_wanted_it(make_chain):
    chain = make_chain(start=False)
    job = chain.bash("true")
    with chain.home.journal() as journal:
        journal.cancel(job, "Ada, on the agent's machine")
    chain.start()
    assert recorded(chain, "job.cancel", job)["by"] == "Ada, on the agent's machine"
    assert recorded(chain, "job.ended", job)["ran"] is False


def test_a_record_that_cannot_be_written_stops_no_job_and_is_said_and_caught_up(make_chain):
    chain = make_chain(start=False)
    folder = chain.home.settings.audit_dir
    folder.write_text("in the way")
    chain.start()
    job = chain.bash("true")
    assert chain.result(job)["status"] == "success"

    def said():
        with chain.home.journal() as journal:
            return noted(journal).get("audit")

    eventually(lambda: said() == "not written", within=15, what="the heartbeat's word for it")
    assert "jobs go on" in chain.pool.log
    folder.unlink()
    recorded(chain, "job.started", job)
    recorded(chain, "job.ended", job)
    eventually(lambda: said() == "ok", within=15, what="the heartbeat's word for it")


def test_after_a_rekey_nothing_starts_until_workers_open_the_vault_again(make_chain):
    chain = make_chain()
    settings = chain.home.settings
    Vault(settings.vault_path, VaultKey(API_KEY)).put("db-1", {"password": SECRET})
    before = chain.send("connection.test", {}, connection_id="db-1")
    assert chain.result(before)["status"] == "success"

    Rotation(settings, Vault(settings.vault_path, VaultKey(API_KEY))).rekey(NEW, by="Ada")
    waiting = chain.send("connection.test", {}, connection_id="db-1")
    with chain.home.redis.client() as client:
        eventually(lambda: not queued_keys(agent_queue(client)), what="a worker that takes the key")
    with chain.home.journal() as journal:
        assert "the vault has a new key" in local_pause(journal, 0).sentence
        assert journal.get(waiting).state is State.QUEUED

    chain.pool.terminate()
    chain.start()  # with the former key still: these workers cannot open the vault either
    chain.enqueue(waiting)
    with chain.home.redis.client() as client:
        eventually(lambda: not queued_keys(agent_queue(client)), within=30, what="a worker that takes the key")
    assert chain.row(waiting).state is State.QUEUED
    chain.pool.terminate()
    chain.home.values["agent_api_key"] = NEW
    chain.start()
    chain.enqueue(waiting)
    assert chain.result(waiting)["status"] == "success"
    with chain.home.journal() as journal:
        assert local_pause(journal, 0) is None
    assert "vault.rekeyed" in [entry["kind"] for entry in entries(settings.audit_dir)]
