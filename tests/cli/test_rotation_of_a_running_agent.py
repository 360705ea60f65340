"""`easyalert-agent vault rekey` beside a running agent, the restart it asks for, and what the record says of it."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.system

NEW = "ea_agent_after_the_rotation"
TEST = {"actionType": "connection.test", "connectionId": "db-1", "params": {}}


@pytest.mark.timeout(200)
def test_a_rotation_fails_no_job(agent_on, plain_server):
    agent = agent_on(plain_server.url).start()
    plain_server.wait_for(lambda: plain_server.of("poll"), within=30)
    (agent.state_dir.parent / "db.json").write_text('{"password": "s3cret"}')
    assert agent.command("vault", "set", "db-1", "--file", "db.json").returncode == 0
    plain_server.give({"jobId": "job_1", **TEST})
    plain_server.wait_for(lambda: "job_1" in plain_server.results, within=30)

    done = agent.command("vault", "rekey", AGENT_API_KEY_NEW=NEW)
    assert done.returncode == 0, done.stderr
    assert "restart" in done.stdout
    status = json.loads(agent.command("status", "--json").stdout)
    assert "the vault has a new key" in status["pause"]["sentence"]
    assert "ends with the restart" in agent.command("resume").stdout
    plain_server.give({"jobId": "job_2", **TEST})
    assert agent.stop() == 0
    assert "job_2" not in plain_server.results

    agent.environment["AGENT_API_KEY"] = plain_server.api_key = NEW
    agent.start()
    plain_server.wait_for(lambda: "job_2" in plain_server.results, within=40)
    assert plain_server.results["job_2"][0]["status"] == "success"
    assert json.loads(agent.command("status", "--json").stdout)["pause"] is None
    assert agent.stop() == 0

    found = json.loads(agent.command("audit", "--json").stdout)
    kinds = [entry["kind"] for entry in found]
    assert kinds[0] == "agent.started"
    assert kinds[-1] == "agent.stopped"
    wanted = ["credential.stored", "vault.rekeyed", "agent.stopped", "agent.started"]
    assert [kind for kind in kinds[1:-1] if kind in wanted] == wanted
    assert [e["jobId"] for e in found if e["kind"] == "job.ended"] == ["job_1", "job_2"]
    assert agent.command("audit", "verify").returncode == 0
    text = json.dumps(found) + agent.log
    assert "s3cret" not in text
    assert NEW not in text
