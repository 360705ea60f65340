import asyncio

import pytest

from admin.watch import watch
from easyalert.journal import Journal
from easyalert.runtime import Stop
from vault import Vault, VaultKey


class Looked(Stop):
    """A stop that takes the next step at each wait, and is set after the last one."""

    def __init__(self, steps) -> None:
        super().__init__()
        self._steps = iter(steps)

    async def wait(self, seconds=None, *others):
        step = next(self._steps, None)
        if step is None:
            self.set()
        else:
            step()
        return self.is_set


def watched(vault, journal_path, steps):
    """Watch while `steps` run one after the other; answer the notes that stood there after each."""
    notes = []

    def note():
        with Journal(journal_path) as journal:
            notes.append(journal.note("vault"))

    asyncio.run(watch(vault, journal_path, Looked([part for step in steps for part in (step, note)])))
    return notes


@pytest.fixture
def store(tmp_path):
    return Vault(tmp_path / "vault.json", VaultKey("key"))


def test_the_note_follows_the_vault_and_trouble_is_said_once(store, tmp_path, caplog):
    path = tmp_path / "vault.json"
    steps = [
        lambda: None,
        lambda: store.put("a", {}),
        lambda: path.write_bytes(b"{"),
        path.unlink,
        lambda: Vault(path, VaultKey("other")).put("a", {}),
    ]
    notes = watched(store, tmp_path / "journal.sqlite3", steps)
    assert notes == [{"state": state} for state in ("empty", "ok", "damaged", "empty", "locked")]
    assert caplog.text.count("is damaged") == 1
    assert caplog.text.count("does not open the vault") == 1


def test_a_journal_that_is_away_is_tried_again(store, tmp_path):
    folder = tmp_path / "later"
    assert watched(store, folder / "journal.sqlite3", [folder.mkdir]) == [{"state": "empty"}]
