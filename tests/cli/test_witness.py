"""The agent's record held against what the control plane has seen of it."""

from __future__ import annotations

import json
import shutil

import pytest

from cli.__main__ import main
from cli.witness import read_witness
from controlplane.models.engine import Database
from controlplane.models.migrate import migrate
from controlplane.services.tokens import Scope
from easyalert.audit import AuditLog, Entry
from easyalert.errors import AuditError, ConfigurationError
from easyalert.journal import Journal
from tests.controlplane.live import LiveService

pytestmark = pytest.mark.system


@pytest.fixture
def service(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'cp.sqlite3'}")
    migrate(database)
    service = LiveService(database)
    yield service
    service.close()
    database.close()


class Bench:
    """An agent's record here, and the control plane that hears of its ends."""

    def __init__(self, service, folder, token):
        self.service, self.folder, self.token = service, folder, token
        self.agent = service.agent()
        self.url = f"{service.url}/api/v1/agents/{self.agent.id}/audit-heads"

    def grows(self, count, kind="job.started", *, seen=True):
        for number in range(count):
            head = AuditLog(self.folder).append([Entry(1_700_000_000.0 + number, kind, {"n": number})])
            if seen:
                self.service.clock.sleep(30)
                self.agent.heartbeat(audit={"seq": head.seq, "hash": head.hash})

    def written_anew(self, count):
        """By somebody who may: every line, hash and number fits."""
        shutil.rmtree(self.folder)
        self.grows(count, "innocent", seen=False)

    def verify(self, *more):
        return main(["audit", "verify", "--witness", self.url, "--token-file", str(self.token), *more])


@pytest.fixture
def bench(service, tmp_path, monkeypatch):
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.chdir(state)
    monkeypatch.setenv("STATE_DIR", str(state))
    monkeypatch.delenv("AGENT_API_KEY", raising=False)
    token = tmp_path / "token"
    token.write_text(f"{service.tokens[Scope.VIEWER]}\n")
    return Bench(service, state / "audit", token)


def test_a_record_as_it_was_witnessed_is_whole(bench, capsys):
    bench.grows(5)
    bench.grows(2, seen=False)
    assert bench.verify() == 0
    out = capsys.readouterr().out
    assert "whole: 7 entries" in out
    assert "witnessed: 5 entries, up to 5, the last seen 2027-" in out
    assert "5 of them were compared" in out
    assert bench.verify("--json") == 0
    report = json.loads(capsys.readouterr().out)["witness"]
    assert (report["agentId"], report["heads"], report["checked"]) == (bench.agent.id, 5, 5)
    assert (report["earlierRecords"], report["warning"]) == (0, None)


def test_a_record_written_anew_as_a_whole_and_longer_is_found(bench, capsys):
    bench.grows(5)
    bench.written_anew(9)
    assert main(["audit", "verify"]) == 0, "by itself it is a sound record"
    assert bench.verify() == 4
    assert "(entry 1): it is not the entry that was witnessed; it was written anew" in capsys.readouterr().out


def test_a_cut_end_and_a_record_that_is_gone_are_found(bench, capsys):
    bench.grows(5)
    (path,) = bench.folder.glob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert bench.verify() == 4
    assert "the end is missing: entry 5 was witnessed, the record ends with entry 3" in capsys.readouterr().out
    shutil.rmtree(bench.folder)
    assert bench.verify() == 4
    assert "ends with entry 0" in capsys.readouterr().out


def test_a_record_that_was_pruned_has_to_follow_what_was_witnessed(tmp_path):
    from easyalert.audit import Head, verify

    log = AuditLog(tmp_path / "audit", segment_bytes=600, segments_kept=2)
    heads = [log.append([Entry(1_700_000_000.0, "job.started", {"n": n})]) for n in range(20)]
    verdict = verify(tmp_path / "audit", heads)
    assert (verdict.broken, verdict.first > 1) == (None, True)
    forged = Head(verdict.first - 1, "f" * 64)
    assert "does not follow the entry" in verify(tmp_path / "audit", [forged]).broken


def test_a_warning_of_the_control_plane_is_said_until_it_is_accepted(bench, capsys):
    bench.grows(5)
    bench.written_anew(2)
    bench.grows(1)
    assert bench.verify() == 4
    out = capsys.readouterr().out
    assert "broken" in out
    assert "warning of the control plane: the agent's record was written anew: its entry 3" in out
    accept = f"/api/v1/agents/{bench.agent.id}/accept-record"
    assert bench.service.operator.post(accept, json={"note": "restored"}).status_code == 200
    assert bench.verify() == 0
    assert "note: 1 earlier record(s)" in capsys.readouterr().out


def test_a_downloaded_list_does_as_well(bench, tmp_path, capsys):
    bench.grows(3)
    answer = bench.service.operator.get(bench.url)
    file = tmp_path / "heads.json"
    for content in (answer.text, json.dumps(answer.json()["data"])):
        file.write_text(content)
        assert main(["audit", "verify", "--witness", str(file)]) == 0
        assert "3 of them were compared" in capsys.readouterr().out
    file.write_text(bench.service.operator.get(bench.url, params={"limit": 1}).text)
    assert main(["audit", "verify", "--witness", str(file)]) == 2
    assert "goes on (nextCursor)" in capsys.readouterr().err


def test_another_agents_list_is_refused(bench, capsys):
    bench.grows(2)
    with Journal(bench.folder.parent / "journal.sqlite3") as journal:
        journal.leave_note("registration", {"agentId": "agt_another"})
    assert bench.verify() == 2
    assert "and this one is agt_another" in capsys.readouterr().err


def test_nothing_witnessed_is_said(bench, capsys):
    bench.grows(2, seen=False)
    assert bench.verify() == 0
    assert "witnessed: nothing" in capsys.readouterr().out


def test_what_the_control_plane_answers_instead(bench, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("ea_op_not-a-token")
    with pytest.raises(AuditError, match="the token is not known there"):
        read_witness(bench.url, wrong)
    with pytest.raises(AuditError, match="it knows no such agent"):
        read_witness(bench.url.replace(bench.agent.id, "agt_none"), bench.token)
    with pytest.raises(AuditError, match=r"could not be asked .*ConnectError") as caught:
        read_witness("http://127.0.0.1:9/api/v1/agents/a/audit-heads", bench.token)
    assert "ea_op" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://control.example/api/v1/agents/a/audit-heads", "in clear"),
        ("https://ada:secret@control.example/api/v1/agents/a/audit-heads", "as it is"),
        ("https://control.example/api/v1/agents/a", "as it is"),
        ("https://control.example/api/v1/agents/a/audit-heads?limit=1", "as it is"),
    ],
)
def test_where_no_token_is_sent(tmp_path, url, says):
    token = tmp_path / "token"
    token.write_text("secret-token")
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_witness(url, token)
    assert "secret" not in str(caught.value)
    with pytest.raises(ConfigurationError):
        read_witness(url, None)


@pytest.mark.parametrize(
    "content",
    [
        "", "5", "[]", "{}", '{"data": 5}', '{"data": {"heads": 5}}', '{"heads": []}', "[" * 100_000,
        '{"agentId": "a", "heads": [{"chain": 1, "seq": 1, "hash": "x", "seenAt": ""}]}',
        '{"agentId": "a", "heads": [{"chain": true, "seq": 1, "hash": "' + "a" * 64 + '", "seenAt": ""}]}',
        '{"agentId": "a", "heads": [{"chain": 1, "seq": 1, "hash": "' + "a" * 64 + '"}]}',
    ],
)  # fmt: skip
def test_what_is_no_list(tmp_path, content):
    file = tmp_path / "heads.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match="audit-heads"):
        read_witness(str(file), None)


def test_a_token_without_a_url_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    assert main(["audit", "verify", "--token-file", "token"]) == 2
    assert main(["audit", "verify", "--witness", "heads.json", "--token-file", "token"]) == 2
