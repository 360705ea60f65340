from __future__ import annotations

import pytest

from easyalert.journal import Journal


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def addresses(journal):
    return {binding.connection_id: binding.address for binding in journal.bindings()}


def test_the_first_address_counts_as_long_as_the_entry_is_the_same(journal):
    assert journal.bind("conn-1", "entry-a", "https://one:443").address == "https://one:443"
    assert journal.bind("conn-1", "entry-a", "https://two:443").address == "https://one:443"
    assert addresses(journal) == {"conn-1": "https://one:443"}


def test_another_entry_is_bound_anew(journal):
    journal.bind("conn-1", "entry-a", "one")
    assert journal.bind("conn-1", "entry-b", "two").address == "two"
    assert addresses(journal) == {"conn-1": "two"}


def test_connections_are_bound_apart(journal):
    journal.bind("conn-1", "entry", "one")
    journal.bind("conn-2", "entry", "two")
    assert addresses(journal) == {"conn-1": "one", "conn-2": "two"}


def test_it_outlives_the_process_and_is_recorded_once(tmp_path):
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        journal.bind("conn-1", "entry", "one")
    with Journal(path) as journal:
        assert journal.bind("conn-1", "entry", "two").address == "one"
        kinds = [row["kind"] for row in journal._db.execute("SELECT kind FROM audit")]
    assert kinds.count("credential.bound") == 1


def test_unbound_the_next_use_decides(journal):
    assert journal.unbind("conn-1", by="ada") is None
    journal.bind("conn-1", "entry", "one")
    assert journal.unbind("conn-1", by="ada").address == "one"
    assert journal.bind("conn-1", "entry", "two").address == "two"
