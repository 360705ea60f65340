import errno
import json
import os
import threading
from pathlib import Path

import pytest

from easyalert.errors import (
    EntryNotFound,
    InvalidConnectionId,
    VaultDamaged,
    VaultError,
    VaultUnavailable,
    WrongKey,
)
from tests.vault.conftest import KEY, OTHER, PREVIOUS, SALT
from vault import Vault, VaultKey, files
from vault.document import parse

SSH = {"host": "10.0.0.5", "username": "deploy", "password": "s3crét"}


def vault(path: Path, key: str = KEY, previous: str | None = None) -> Vault:
    return Vault(path, VaultKey(key, previous))


# Reading and writing


def test_a_missing_file_is_an_empty_vault_and_stays_missing(store, path):
    assert store.names() == []
    assert store.check().state == "empty"
    with pytest.raises(EntryNotFound):
        store.get("a")
    with pytest.raises(EntryNotFound):
        store.delete("a")
    assert store.finish_rotation() == 0
    assert not path.exists()


def test_what_is_put_comes_back_here_elsewhere_and_at_the_vendors(store, path, foreign):
    store.put("conn-1", SSH)
    assert store.get("conn-1") == SSH
    assert vault(path).get("conn-1") == SSH
    assert foreign.vendor_opens("conn-1") == SSH
    assert b"s3cr" not in path.read_bytes()


def test_an_answer_is_the_callers_own(store):
    store.put("a", {"nested": {"x": 1}})
    store.get("a")["nested"]["x"] = 2
    assert store.get("a") == {"nested": {"x": 1}}


def test_put_replaces_the_whole_entry(store):
    store.put("a", {"user": "u", "password": "p"})
    store.put("a", {"token": "t"})
    assert store.get("a") == {"token": "t"}


def test_delete_removes_one(store):
    store.put("a", {})
    store.put("b", SSH)
    store.delete("a")
    assert store.names() == ["b"]
    with pytest.raises(EntryNotFound, match="'a'"):
        store.get("a")
    with pytest.raises(EntryNotFound):
        store.delete("a")


@pytest.mark.parametrize("bad", ["", "a b", "conn-1\n", "../x", "x" * 257])
def test_names_are_checked_everywhere(store, path, bad):
    for attempt in (store.get, store.delete, lambda name: store.put(name, {})):
        with pytest.raises(InvalidConnectionId):
            attempt(bad)
    assert not path.exists()


@pytest.mark.parametrize("bad", [None, [], "text", {"x": float("nan")}, {"x": object()}, {"x": b"raw"}, {1: "x"}])
def test_what_is_no_json_object_is_refused_without_quoting_it(store, path, bad):
    with pytest.raises(VaultError, match="nothing was stored"):
        store.put("a", bad)
    assert not path.exists()


def test_unusual_but_valid_values_survive(store):
    odd = {"": "", "ключ": "значение", "s": "\ud800\x00\u2028", "n": [1, 1.5, None, True, {"deep": []}]}
    store.put("a", odd)
    assert store.get("a") == odd


def test_a_vault_that_would_grow_beyond_what_is_read_is_refused(store, path, monkeypatch):
    store.put("a", {})
    before = path.read_bytes()
    monkeypatch.setattr("vault.document.MAX_BYTES", len(before) + 50)
    with pytest.raises(VaultError, match="grow"):
        store.put("b", {"x": "y" * 100})
    assert path.read_bytes() == before


def test_readers_notice_what_another_process_wrote(store, path):
    store.put("a", {"v": 1})
    reader = vault(path)
    assert reader.get("a") == {"v": 1}
    store.put("a", {"v": 2})
    assert reader.get("a") == {"v": 2}
    path.unlink()
    assert reader.names() == []


def test_an_unchanged_file_is_not_read_again(store, monkeypatch):
    store.put("a", {"v": 1})
    store.get("a")
    monkeypatch.setattr(files, "read", lambda *_args, **_kwargs: pytest.fail("read again"))
    assert store.get("a") == {"v": 1}


def test_writers_start_from_the_disk_not_from_memory(path):
    one, two = vault(path), vault(path)
    one.put("a", {})
    two.put("b", {})
    one.put("c", {})
    assert one.names() == two.names() == ["a", "b", "c"]


def test_many_threads_lose_nothing(path):
    stores = [vault(path) for _ in range(4)]

    def work(number):
        for turn in range(8):
            stores[number].put(f"conn-{number}-{turn}", {"n": number, "t": turn})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(vault(path).names()) == 32
    assert parse(path.read_bytes()).counter("writes") == 32


def test_the_previous_state_is_kept_beside(store, path):
    store.put("a", {"v": 1})
    before = path.read_bytes()
    store.delete("a")
    assert files.backup_of(path).read_bytes() == before


def test_foreign_keys_stay_and_a_lost_meta_comes_back(path, foreign, store):
    foreign.write({"a": foreign.entry("a", SSH)}, vendorNew={"x": [1]}, meta={"theirs": 1})
    store.put("b", {})
    written = json.loads(path.read_bytes())
    assert written["vendorNew"] == {"x": [1]}
    assert written["meta"]["theirs"] == 1
    assert {"verifier", "writes", "generation"} <= set(written["meta"])

    foreign.write(written["credentials"])
    store.put("c", {})
    assert set(json.loads(path.read_bytes())) == {"salt", "credentials", "meta"}
    assert store.get("a") == SSH


# A wrong key never writes (C5)


def test_a_wrong_key_reads_nothing_and_writes_nothing(path, foreign):
    before = foreign.write({"a": foreign.entry("a", SSH), "b": foreign.entry("b", SSH)})
    wrong = vault(path, OTHER)
    attempts = [
        lambda: wrong.get("a"),
        lambda: wrong.put("a", {}),
        lambda: wrong.put("new", {}),
        lambda: wrong.delete("a"),
        lambda: wrong.rekey("ea_agent_new"),
        wrong.finish_rotation,
    ]
    for attempt in attempts:
        with pytest.raises(WrongKey, match="AGENT_API_KEY does not open"):
            attempt()
    assert path.read_bytes() == before
    assert not files.backup_of(path).exists()
    assert wrong.names() == ["a", "b"]
    assert (wrong.check().state, wrong.check().entries) == ("locked", 2)
    assert vault(path).get("a") == SSH


def test_a_wrong_key_after_our_own_write_is_recognised_even_if_every_entry_is_damaged(store, path):
    store.put("a", SSH)
    document = json.loads(path.read_bytes())
    document["credentials"]["a"]["data"] = "AAAA"
    path.write_bytes(json.dumps(document).encode())
    assert vault(path, OTHER).check().state == "locked"
    assert store.check().state == "damaged"


@pytest.mark.parametrize("emptied", [True, False])
def test_an_empty_vault_accepts_any_key(store, path, foreign, emptied):
    if emptied:
        store.put("a", {})
        store.delete("a")
    else:
        foreign.write({})
    other = vault(path, OTHER)
    other.put("b", SSH)
    assert other.get("b") == SSH
    assert store.check().state == "locked"


# Damage stays where it is


def test_a_damaged_entry_hurts_no_other_and_survives_every_write(path, foreign, store):
    broken = {**foreign.entry("bad", SSH), "iv": "AAAAAAAAAAAAAAAA"}
    foreign.write({"good": foreign.entry("good", SSH), "bad": broken, "worse": 7})
    assert store.get("good") == SSH
    for name in ("bad", "worse"):
        with pytest.raises(VaultDamaged, match=f"'{name}'.*vault doctor"):
            store.get(name)
    store.put("new", {})
    store.delete("good")
    assert json.loads(path.read_bytes())["credentials"]["bad"] == broken
    assert json.loads(path.read_bytes())["credentials"]["worse"] == 7
    state = store.check()
    assert (state.state, state.entries, state.damaged) == ("damaged", 3, ("bad", "worse"))


def test_a_damaged_entry_is_mended_by_storing_it_again_or_removed(path, foreign, store):
    foreign.write({"good": foreign.entry("good", SSH), "bad": None, "worse": 7})
    store.put("bad", {"v": 1})
    store.delete("worse")
    assert store.check().state == "ok"


def test_swapped_entries_are_refused(path, foreign, store):
    foreign.write({"a": foreign.entry("b", SSH), "b": foreign.entry("a", SSH), "c": foreign.entry("c", {})})
    for name in ("a", "b"):
        with pytest.raises(VaultDamaged):
            store.get(name)


def test_a_ghost_of_the_vendors_newline_check_is_shown_as_damaged_and_kept(path, foreign, store):
    foreign.write({"a": foreign.entry("a", SSH), "a\n": foreign.entry("a\n", {})})
    store.put("b", {})
    assert store.check().damaged == ("a\n",)
    assert "a\n" in json.loads(path.read_bytes())["credentials"]


DAMAGED_FILES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"salt": "!!!!", "credentials": {}}',
    b'{"salt": "AAAA", "credentials": null}',
    b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": []}',
    b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": "x"}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("raw", DAMAGED_FILES)
def test_a_damaged_file_is_named_and_never_written_over(path, foreign, store, raw):
    foreign.write_raw(raw)
    attempts = [
        store.names,
        lambda: store.get("a"),
        lambda: store.put("a", {}),
        lambda: store.delete("a"),
        lambda: store.rekey("new"),
        store.finish_rotation,
    ]
    for attempt in attempts:
        with pytest.raises(VaultDamaged, match=r"is damaged.*vault doctor"):
            attempt()
    assert store.check().state == "damaged"
    assert path.read_bytes() == raw
    assert {p.name for p in path.parent.iterdir()} <= {"vault.json", "vault.json.lock"}


def test_the_sentence_names_the_backup_when_there_is_one(store, path):
    store.put("a", {})
    store.put("b", {})
    path.write_bytes(b"")
    assert str(files.backup_of(path)) in store.check().sentence


def test_every_flipped_bit_and_every_truncation_is_noticed_or_harmless(store, path):
    store.put("aa", {"v": 1})
    store.put("b", {"v": 2})
    whole = path.read_bytes()

    def consequences(raw):
        path.write_bytes(raw)
        fresh = Vault(path, store._key)
        state = fresh.check().state
        assert state in {"ok", "damaged", "locked"}
        try:
            names = fresh.names()
        except VaultDamaged:
            return
        readable = {}
        for name in names:
            try:
                readable[name] = fresh.get(name)
            except (VaultDamaged, WrongKey, InvalidConnectionId):
                continue
        assert readable.items() <= {"aa": {"v": 1}, "b": {"v": 2}}.items()
        assert readable == {"aa": {"v": 1}, "b": {"v": 2}} or state in {"damaged", "locked"}

    for position in range(len(whole)):
        consequences(whole[:position])
        for bit in (0, 3, 6):
            consequences(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])


def test_a_damaged_salt_is_damage_not_a_wrong_key(store, path):
    store.put("a", SSH)
    document = json.loads(path.read_bytes())
    document["salt"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    path.write_bytes(json.dumps(document).encode())
    with pytest.raises(VaultDamaged, match="salt"):
        store.get("a")
    with pytest.raises(VaultDamaged, match="salt"):
        store.put("a", {})
    assert store.check().state == "damaged"


# Old entries (C6)


def test_entries_of_old_agents_are_read_and_bound_at_the_next_write(path, foreign, store):
    foreign.write({"old": foreign.entry("old", SSH, bound=False)})
    assert store.get("old") == SSH
    assert store.check().state == "ok"
    store.put("new", {})
    assert foreign.vendor_opens("old") == SSH


# Rekey and rotation (C7)


def test_rekey_encrypts_everything_anew_in_one_replacement(store, path, foreign):
    store.put("a", SSH)
    store.put("b", {"v": 2})
    before = json.loads(path.read_bytes())
    assert store.rekey(OTHER) == 2
    after = json.loads(path.read_bytes())
    assert after["salt"] != before["salt"]
    assert after["meta"]["generation"] == before["meta"]["generation"] + 1
    assert foreign.vendor_opens("a", OTHER) == SSH
    assert vault(path).check().state == "locked"
    assert store.get("a") == SSH
    store.put("c", {})
    assert vault(path, OTHER).names() == ["a", "b", "c"]
    assert vault(path, OTHER).check().state == "ok"


@pytest.mark.parametrize("missing", [True, False])
def test_rekey_of_nothing_counts_nothing_and_still_changes_the_key(store, path, foreign, missing):
    if not missing:
        foreign.write({})
    assert store.rekey(OTHER) == 0
    assert path.exists() is not missing
    store.put("a", {"v": 1})
    assert vault(path, OTHER).get("a") == {"v": 1}


def test_rekey_leaves_what_does_not_open_with_the_salt_it_needs(path, foreign, store):
    lost = foreign.entry("lost", SSH, api_key=OTHER)
    foreign.write({"a": foreign.entry("a", SSH), "lost": lost})
    assert store.rekey("ea_agent_new") == 1
    assert json.loads(path.read_bytes())["credentials"]["lost"] == lost
    assert parse(path.read_bytes()).salt == SALT
    assert vault(path, "ea_agent_new", OTHER).get("lost") == SSH


@pytest.mark.parametrize("empty", ["", "  ", None, 5])
def test_rekey_to_nothing_is_refused(store, path, empty):
    store.put("a", SSH)
    with pytest.raises(VaultError, match="empty"):
        store.rekey(empty)
    assert vault(path).get("a") == SSH


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
@pytest.mark.parametrize("nth", [0, 1])
def test_a_failed_rekey_changes_neither_file_nor_key(store, path, monkeypatch, call, nth):
    store.put("a", SSH)
    before = path.read_bytes()
    real, seen = getattr(os, call), []

    def fail(*args, **kwargs):
        seen.append(1)
        if len(seen) > nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(VaultUnavailable, match="No space left"):
        store.rekey(OTHER)
    monkeypatch.undo()
    monkeypatch.setattr("vault.key.ITERATIONS", 2)
    assert path.read_bytes() == before
    store.put("b", {"v": 1})
    assert vault(path).get("a") == SSH
    assert vault(path).get("b") == {"v": 1}
    assert vault(path).check().state == "ok"


def test_readers_in_other_threads_never_meet_a_locked_vault_during_rekeys(store):
    store.put("a", SSH)
    stop, failures = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                assert store.get("a") == SSH
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    [reader.start() for reader in readers]
    for number in range(30):
        store.rekey(f"ea_agent_{number}")
    stop.set()
    [reader.join() for reader in readers]
    assert failures == []


def test_a_reader_overtaken_by_two_rekeys_reads_again(store, monkeypatch):
    store.put("a", SSH)
    real = files.read
    rekeys = ["ea_agent_1", "ea_agent_2"]

    def overtaken(path, **options):
        # Between the reader's look at its key and at the file.
        monkeypatch.setattr(files, "read", real)
        while rekeys:
            store.rekey(rekeys.pop(0))
        return real(path, **options)

    monkeypatch.setattr(files, "read", overtaken)
    assert store.get("a") == SSH


def test_with_the_previous_key_a_rotation_without_rekey_is_finished(path, foreign):
    foreign.write({"a": foreign.entry("a", SSH, api_key=PREVIOUS), "b": foreign.entry("b", {}, api_key=PREVIOUS)})
    rotating = vault(path, KEY, PREVIOUS)
    assert rotating.get("a") == SSH
    assert rotating.check().state == "ok"
    assert rotating.finish_rotation() == 2
    assert vault(path, KEY).get("a") == SSH
    assert vault(path, PREVIOUS).check().state == "locked"
    written = path.read_bytes()
    assert rotating.finish_rotation() == 0
    assert path.read_bytes() == written


def test_a_file_left_half_and_half_by_another_agent_is_brought_together(path, foreign):
    foreign.write({"a": foreign.entry("a", SSH), "b": foreign.entry("b", {"v": 2}, api_key=PREVIOUS)})
    assert vault(path, KEY, PREVIOUS).finish_rotation() == 2
    assert vault(path).get("b") == {"v": 2}


def test_any_write_finishes_a_rotation_on_the_way(path, foreign):
    foreign.write({"a": foreign.entry("a", SSH, api_key=PREVIOUS)})
    vault(path, KEY, PREVIOUS).put("b", {"v": 1})
    assert vault(path).get("a") == SSH
    written = parse(path.read_bytes())
    assert written.salt != SALT
    assert written.counter("generation") == 1
    assert vault(path).get("b") == {"v": 1}


def test_after_a_rekey_the_previous_key_leaves_nothing_to_do(store, path):
    store.put("a", SSH)
    store.rekey(OTHER)
    assert vault(path, OTHER, KEY).finish_rotation() == 0


@pytest.mark.parametrize("entries", [{}, None])
def test_finishing_needs_something_to_finish(path, foreign, entries):
    if entries is not None:
        foreign.write(entries)
    assert vault(path, KEY, PREVIOUS).finish_rotation() == 0


# The backup after a rotation: the key that was changed may be one that leaked


@pytest.mark.parametrize("way", ["rekey", "finish_rotation", "put"])
def test_no_copy_under_the_old_key_is_left_after_a_rotation(store, path, way):
    store.put("a", SSH)
    store.put("b", {"v": 2})
    rotating = vault(path, OTHER, KEY)
    if way == "rekey":
        store.rekey(OTHER)
    elif way == "finish_rotation":
        assert rotating.finish_rotation() == 2
    else:
        rotating.put("c", {})
    backup = files.backup_of(path)
    assert backup.read_bytes() == path.read_bytes()
    assert vault(backup, OTHER).get("a") == SSH
    for file in path.parent.iterdir():
        assert vault(file, KEY).check().state != "ok", f"{file.name} still opens with the old key"


def test_a_new_file_that_does_not_read_back_leaves_the_old_backup(store, path, monkeypatch, caplog):
    store.put("a", SSH)
    real, inode = files.read, path.stat().st_ino

    def torn(where, **options):
        raw, known = real(where, **options)
        return (raw if known.inode == inode else raw[:-1]), known

    monkeypatch.setattr(files, "read", torn)
    store.rekey(OTHER)
    monkeypatch.undo()
    monkeypatch.setattr("vault.key.ITERATIONS", 2)
    assert "could not be read back" in caplog.text
    assert vault(files.backup_of(path), KEY).get("a") == SSH


def test_a_backup_that_holds_more_or_is_no_older_generation_is_left(store, path, foreign):
    store.put("a", SSH)
    store.put("b", {})
    store.delete("a")
    before = files.backup_of(path).read_bytes()
    assert store.settle_backup() is False
    assert vault(path, OTHER).settle_backup() is False
    files.backup_of(path).write_bytes(b"{")
    assert store.settle_backup() is False
    files.backup_of(path).write_bytes(before)
    store.rekey(OTHER)
    files.backup_of(path).write_bytes(before)  # it holds `a`, the file does not
    assert vault(path, OTHER).settle_backup() is False
    files.backup_of(path).unlink()
    assert vault(path, OTHER).settle_backup() is False


# Many at once


def test_many_entries_come_in_one_write_or_not_at_all(store, path):
    store.put("a", SSH)
    assert store.put_all({"a": {"v": 9}, "b": {"v": 2}, "c": {"v": 3}}, replacing=False) == ["b", "c"]
    assert (store.get("a"), store.get("c")) == (SSH, {"v": 3})
    assert parse(path.read_bytes()).counter("writes") == 2
    assert store.put_all({"a": {"v": 9}}, replacing=True) == ["a"]
    before = path.read_bytes()
    assert store.put_all({"a": {}}, replacing=False) == []
    for bad, error in (({"d": {}, "e\n": {}}, InvalidConnectionId), ({"d": {}, "e": {"v": object()}}, VaultError)):
        with pytest.raises(error):
            store.put_all(bad, replacing=True)
    with pytest.raises(WrongKey):
        vault(path, OTHER).put_all({"d": {}}, replacing=True)
    assert path.read_bytes() == before


# State


def test_check_never_raises_and_never_writes(path, store):
    store.put("a", SSH)
    path.chmod(0o644)
    before = sorted((p.name, p.stat().st_mtime_ns, p.stat().st_mode) for p in path.parent.iterdir())
    assert store.check().state == "ok"
    assert vault(path).check().sentence
    assert before == sorted((p.name, p.stat().st_mtime_ns, p.stat().st_mode) for p in path.parent.iterdir())


def test_check_says_unavailable_for_a_link(path, store, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    assert store.check().state == "unavailable"
    with pytest.raises(VaultUnavailable):
        store.get("a")
    with pytest.raises(VaultUnavailable):
        store.put("a", {})
    assert path.is_symlink()


def test_no_sentence_holds_a_secret(path, foreign):
    foreign.write({"a": foreign.entry("a", SSH), "bad": {"iv": "SECRETIV", "data": "SECRETDATA"}})
    for state in (vault(path).check(), vault(path, OTHER, PREVIOUS).check()):
        for secret in (KEY, OTHER, PREVIOUS, "s3cr", "SECRET"):
            assert secret not in repr(state)
