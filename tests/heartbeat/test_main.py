"""The program as supervisord starts it."""

from __future__ import annotations

import pytest

from tests.support.waiting import eventually

pytestmark = pytest.mark.system


def test_it_beats_by_the_contract_and_says_offline(make_home, plain_server):
    home = make_home(plain_server.url, heartbeat_interval=1)
    with home.journal() as journal:
        journal.leave_note("registration", {"agentId": "agt_1", "features": []})
    program = home.start("heartbeat")
    plain_server.wait_for(lambda: len(plain_server.heartbeats) >= 2)
    assert program.terminate() == 0
    assert [beat["status"] for beat in plain_server.heartbeats][-1] == "offline"
    assert [beat["status"] for beat in plain_server.heartbeats].count("offline") == 1


def test_a_wrong_setting_is_one_sentence(make_home):
    home = make_home("http://127.0.0.1:1")
    home.values["agent_api_url"] = "ftp://nowhere"
    program = home.start("heartbeat")
    assert program.wait() == 2
    assert "AGENT_API_URL" in program.log
    assert "Traceback" not in program.log


def test_it_ends_cleanly_before_any_registration(make_home, plain_server):
    home = make_home(plain_server.url)
    program = home.start("heartbeat")
    eventually(home.settings.journal_path.exists)
    assert program.terminate() == 0
    assert plain_server.seen == []
