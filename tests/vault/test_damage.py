"""Every damage of one bit, and every truncation, of a small file: what reading says, and that no writer makes it worse."""

import json
import os
import shutil

import pytest

from easyalert.errors import InvalidConnectionId, VaultDamaged, VaultError, WrongKey
from tests.vault.conftest import KEY, OTHER
from vault import Vault, VaultKey, files
from vault.document import MalformedDocumentError, parse

ENTRIES = {"aa": {"v": 1}, "b": {"v": 2}}


@pytest.fixture
def whole(store, path, monkeypatch):
    # thousands of writes: durability is shown elsewhere
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for name, credentials in ENTRIES.items():
        store.put(name, credentials)
    return path.read_bytes()


def readable(vault):
    found = {}
    for name in vault.names():
        try:
            found[name] = vault.get(name)
        except (VaultDamaged, WrongKey, InvalidConnectionId):
            continue
    return found


def raw_entries(raw):
    try:
        return parse(raw).entries
    except MalformedDocumentError:
        return None


def a_writer_makes_nothing_worse(path, key, damaged):
    """Store something; whatever stood there still does, to the byte, or nothing was written at all."""
    path.write_bytes(damaged)
    files.backup_of(path).unlink(missing_ok=True)
    vault = Vault(path, key)
    state = vault.check().state
    try:
        before = readable(vault)
    except VaultDamaged:
        before = None
    try:
        vault.put("new", {"v": 3})
    except (VaultDamaged, WrongKey):
        assert path.read_bytes() == damaged
        assert not files.backup_of(path).exists()
        assert state in {"damaged", "locked"}
        return False
    assert before is not None, "what could not be read was written"
    assert files.backup_of(path).read_bytes() == damaged
    after, there = json.loads(path.read_bytes())["credentials"], raw_entries(damaged)
    for name, entry in there.items():
        if name in before:
            assert vault.get(name) == before[name]
        else:
            assert after[name] == entry
    assert set(after) == {*there, "new"}
    assert before.items() <= ENTRIES.items()
    assert before == ENTRIES or state == "damaged"
    return True


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_anywhere_is_never_made_worse_by_a_writer(whole, path, bit):
    key = VaultKey(KEY)
    written = [
        a_writer_makes_nothing_worse(
            path, key, whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :]
        )
        for position in range(len(whole))
    ]
    # the highest bit makes it no text at all; of the others, some damage is confined to an entry and some is not
    assert set(written) == ({False} if bit == 7 else {True, False})


def test_a_truncation_at_any_length_is_refused_and_kept(whole, path):
    key = VaultKey(KEY)
    assert not any(a_writer_makes_nothing_worse(path, key, whole[:length]) for length in range(len(whole)))


def test_a_wrong_key_changes_nothing_of_any_damaged_file(whole, path):
    key = VaultKey(OTHER)
    for position in range(len(whole)):
        damaged = whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :]
        path.write_bytes(damaged)
        vault = Vault(path, key)
        for attempt in (lambda v: v.put("new", {}), lambda v: v.delete("aa"), lambda v: v.rekey("ea_agent_new")):
            with pytest.raises((VaultDamaged, WrongKey)) as refused:
                attempt(vault)
            # an entry whose name was hit is not there to be deleted; everything else is refused as a whole
            assert isinstance(refused.value, VaultError)
        assert path.read_bytes() == damaged


def test_no_damage_survives_a_rekey_as_a_smaller_vault(whole, path):
    key = VaultKey(KEY)
    for position in range(len(whole)):
        damaged = whole[:position] + bytes([whole[position] ^ 2]) + whole[position + 1 :]
        path.write_bytes(damaged)
        vault = Vault(path, key)
        try:
            before = readable(vault)
            vault.rekey("ea_agent_new")
        except (VaultDamaged, WrongKey):
            assert path.read_bytes() == damaged
            continue
        assert readable(vault) == before
        assert set(parse(path.read_bytes()).entries) == set(raw_entries(damaged))


def test_a_vault_begun_anew_where_the_file_was_removed_leaves_the_backup(whole, path):
    Vault(path, VaultKey(KEY)).put("b", {"v": 2})
    kept = files.backup_of(path).read_bytes()
    path.unlink()
    vault = Vault(path, VaultKey(KEY))
    vault.put("new", {"v": 3})
    assert files.backup_of(path).read_bytes() == kept, "the only copy of what was there"
    shutil.copy(files.backup_of(path), path)
    assert Vault(path, VaultKey(KEY)).get("aa") == {"v": 1}
