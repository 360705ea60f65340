"""The test vector of contract 4.1, both ways: what the vendor's agent wrote is read, what is written is what it would write."""

import base64
import json

import pytest

from vault import Vault, VaultKey, cipher
from vault.cipher import seal
from vault.key import derive

API_KEY = "ea_agent_vector_0001"
FILE = (
    b'{"salt": "AAECAwQFBgcICQoLDA0ODw==", "credentials": {"conn-1": {"iv": "AAECAwQFBgcICQoL", "data": '
    b'"gOx3753MR30qC4vTzyYWR7J5yMFoVn6Wkvi3WDosmE/vPGIjcIUnSfrsxDqp9NR6hTow2DfFZqF/0o0kGg4gSC71V1Wr1WthrNqFkW0Pa8vLvfqkjQ8Hp0YQmB6ZTATTGw=="}}}'
)
CREDENTIALS = {"host": "10.0.0.5", "port": 22, "username": "deploy", "password": "s3cr\u00e9t"}
PLAINTEXT = b'{"host": "10.0.0.5", "port": 22, "username": "deploy", "password": "s3cr\\u00e9t"}'


@pytest.fixture(autouse=True)
def cheap_derivation():
    """Override the folder's: the vector is about the real thing."""


@pytest.fixture
def vector(tmp_path):
    path = tmp_path / "vault.json"
    path.write_bytes(FILE)
    path.chmod(0o600)
    return path


def test_the_vendors_file_is_read(vector):
    store = Vault(vector, VaultKey(API_KEY))
    assert store.names() == ["conn-1"]
    assert store.get("conn-1") == CREDENTIALS
    assert store.check().state == "ok"
    assert vector.read_bytes() == FILE


def test_sealing_yields_the_vectors_bytes(monkeypatch):
    monkeypatch.setattr(cipher.os, "urandom", lambda size: bytes(range(size)))
    sealed = seal(derive(API_KEY, bytes(range(16))), PLAINTEXT, b"conn-1")
    assert sealed == json.loads(FILE)["credentials"]["conn-1"]


def test_what_put_writes_is_the_vectors_spelling(vector):
    store = Vault(vector, VaultKey(API_KEY))
    store.put("conn-2", CREDENTIALS)
    written = json.loads(vector.read_bytes())
    assert written["salt"] == "AAECAwQFBgcICQoLDA0ODw=="
    assert written["credentials"]["conn-1"] == json.loads(FILE)["credentials"]["conn-1"]
    entry = written["credentials"]["conn-2"]
    opened = cipher.unseal(derive(API_KEY, bytes(range(16))), entry, b"conn-2")
    assert opened == PLAINTEXT
    assert len(base64.b64decode(entry["data"])) == len(PLAINTEXT) + 16
