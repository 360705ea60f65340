from __future__ import annotations

import pytest
from rq import SimpleWorker

from easyalert.errors import JournalError
from easyalert.queues import PrimitiveSerializer, agent_queue
from heartbeat.components import Components, noted
from tests.support.agent_home import AgentHome


@pytest.fixture
def home(make_home) -> AgentHome:
    return make_home("http://127.0.0.1:1")


@pytest.fixture
def components(home):
    found = Components(home.settings)
    yield found
    found.close()


def test_redis_away_then_there_then_gone(home, components):
    assert components.look()["redis"] == "unavailable"
    server = home.start_redis()
    assert components.look()["redis"] == "ok"
    server.kill()
    assert components.look()["redis"] == "unavailable"


def test_workers_are_counted_while_redis_answers(home, components):
    assert "workers" not in components.look()
    server = home.start_redis()
    assert components.look()["workers"] == "none"
    with server.client() as client:
        worker = SimpleWorker([agent_queue(client)], connection=client, serializer=PrimitiveSerializer)
        worker.register_birth()
        assert components.look()["workers"] == "ok"
        worker.register_death()


def test_a_disk_below_the_setting_is_full(make_home):
    small, large = make_home("http://h", min_free_disk_mb=0), make_home("http://h", min_free_disk_mb=2**40)
    assert Components(large.settings).look()["disk"] == "full"
    assert Components(small.settings).look()["disk"] in {"ok", "full"}  # 5 % is the machine's own affair


def test_components_speak_for_themselves(home):
    with home.journal() as journal:
        assert noted(journal) == {}
        journal.leave_note("vault", {"state": "locked"})
        journal.leave_note("workers", {"state": "w" * 1000})
        journal.leave_note("poller", "not an object")
        assert noted(journal) == {"vault": "locked", "workers": "w" * 60}


def test_an_unreadable_journal_is_said_and_not_raised():
    assert noted(BrokenJournal()) == {"journal": "unavailable"}


class BrokenJournal:
    def note(self, _name):
        raise JournalError("disk I/O error")


def test_a_vault_without_credentials_is_no_fault(make_home):
    with make_home("http://127.0.0.1:1").journal() as journal:
        journal.leave_note("vault", {"state": "empty"})
        assert noted(journal) == {"vault": "ok"}
        journal.leave_note("vault", {"state": "locked"})
        assert noted(journal) == {"vault": "locked"}
