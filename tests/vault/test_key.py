import copy
import pickle

import pytest

import vault.key
from vault import VaultKey
from vault.key import derive

SECRET = "ea_agent_vector_0001"
SALT = bytes(range(16))


@pytest.fixture(autouse=True)
def cheap_derivation():
    """Override the folder's: here the rounds are the subject."""


def test_derivation_is_the_one_of_contract_4_1():
    expected = "0eec99c3949f0e87259296303b4077cdd5d1a65b057858126c5e7fef91e3043f"
    assert derive(SECRET, SALT).hex() == expected
    assert VaultKey(SECRET).current(SALT).hex() == expected


def test_a_key_that_is_no_ascii_is_its_utf8_bytes_and_never_a_crash(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)
    assert derive("schlüssel", SALT) != derive("schlussel", SALT)
    assert len(derive("\ud800", SALT)) == 32
    assert len(derive("", SALT)) == 32


def test_derivation_happens_once_per_salt(monkeypatch):
    derived = []
    monkeypatch.setattr(vault.key, "derive", lambda api_key, salt: derived.append((api_key, salt)) or b"k" * 32)
    key = VaultKey("one", "two")
    for _ in range(3):
        key.current(SALT)
        key.previous(SALT)
        key.current(b"other")
    assert derived == [("one", SALT), ("two", SALT), ("one", b"other")]


def test_many_salts_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)
    key = VaultKey("one")
    answers = [key.current(salt.to_bytes(2)) for salt in range(100)]
    assert len(set(answers)) == 100
    assert key.current((3).to_bytes(2)) == answers[3]
    assert len(key._VaultKey__derived) <= 16


@pytest.mark.parametrize("previous", [None, "", "same"])
def test_no_previous_key_when_there_is_none_or_the_same(previous):
    assert not VaultKey("same", previous).has_previous


def test_rotation_reads_with_both_and_writes_with_the_new_one(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)
    rotated = VaultKey("old", "older").rotated_to("new")
    assert rotated.current(SALT) == derive("new", SALT)
    assert rotated.previous(SALT) == derive("old", SALT)


def test_it_shows_itself_to_nobody(monkeypatch):
    monkeypatch.setattr(vault.key, "ITERATIONS", 1)
    key = VaultKey(SECRET, "ea_agent_previous")
    key.current(SALT)
    for shown in (repr(key), str(key), f"{key}", repr([key])):
        assert "ea_agent" not in shown
    assert not hasattr(key, "__dict__")
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        copy.copy(key)
