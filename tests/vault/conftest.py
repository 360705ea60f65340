"""Vault files written independently of the code under test, as another agent would write them."""

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import vault.key
from vault import Vault, VaultKey

KEY = "ea_agent_current_key"
PREVIOUS = "ea_agent_previous_key"
OTHER = "ea_agent_another_key"
SALT = bytes(range(16))


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    # 600,000 rounds are proven once, by the vector; here they would only be waiting.
    monkeypatch.setattr(vault.key, "ITERATIONS", 2)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "state" / "vault.json"


@dataclass
class ForeignVault:
    """What another agent wrote: entries sealed by hand, with or without associated data, under any API key."""

    path: Path
    salt: bytes = SALT

    def entry(self, name: str, credentials: Any, *, api_key: str = KEY, bound: bool = True) -> dict[str, str]:
        iv = os.urandom(12)
        key = vault.key.derive(api_key, self.salt)
        data = AESGCM(key).encrypt(iv, json.dumps(credentials).encode(), name.encode() if bound else None)
        return {"iv": base64.b64encode(iv).decode(), "data": base64.b64encode(data).decode()}

    def write(self, entries: dict[str, Any], **top_level: Any) -> bytes:
        document = {"salt": base64.b64encode(self.salt).decode(), "credentials": entries, **top_level}
        return self.write_raw(json.dumps(document).encode())

    def write_raw(self, raw: bytes) -> bytes:
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        self.path.write_bytes(raw)
        self.path.chmod(0o600)
        return raw

    def vendor_opens(self, name: str, api_key: str = KEY) -> Any:
        """Open as the vendor's agent does: always with associated data, caring for nothing but salt and credentials."""
        document = json.loads(self.path.read_bytes())
        entry = document["credentials"][name]
        key = vault.key.derive(api_key, base64.b64decode(document["salt"]))
        plaintext = AESGCM(key).decrypt(base64.b64decode(entry["iv"]), base64.b64decode(entry["data"]), name.encode())
        return json.loads(plaintext)


@pytest.fixture
def foreign(path) -> ForeignVault:
    return ForeignVault(path)


@pytest.fixture
def store(path) -> Vault:
    return Vault(path, VaultKey(KEY))
