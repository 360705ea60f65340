import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from easyalert.errors import VaultDamaged, VaultError, WrongKey
from easyalert.sealing import PrivateKey
from vault import backup
from vault.backup import parse_backup, sealed_to, sealed_with_passphrase

CREDENTIALS = {"web-1": {"password": "s3cr\u00e9t"}, "db_2": {"nested": [1, None]}}
PASSPHRASE = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_derivation(monkeypatch):
    monkeypatch.setattr(backup, "_SCRYPT", {"n": 2, "r": 8, "p": 1})


@pytest.fixture
def raw():
    return sealed_with_passphrase(CREDENTIALS, PASSPHRASE)


def changed(raw, **changes):
    return json.dumps({**json.loads(raw), **changes}).encode()


def locked(raw, **changes):
    return changed(raw, lock={**json.loads(raw)["lock"], **changes})


def test_a_backup_opens_with_its_passphrase_and_shows_nothing(raw):
    assert parse_backup(raw).open_with_passphrase(PASSPHRASE) == CREDENTIALS
    for text in (b"web-1", b"password", b"s3cr", PASSPHRASE.encode()):
        assert text not in raw
    assert json.loads(raw)["entries"] == 2


def test_a_backup_opens_as_its_format_says(raw):
    document = json.loads(raw)
    data, lock = base64.b64decode(document.pop("data")), document["lock"]
    key = Scrypt(salt=base64.b64decode(lock["salt"]), length=32, n=lock["n"], r=lock["r"], p=lock["p"]).derive(
        PASSPHRASE.encode()
    )
    head = b"easyalert/vault-backup/1" + json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    assert json.loads(AESGCM(key).decrypt(base64.b64decode(lock["iv"]), data, head)) == {"credentials": CREDENTIALS}


def test_a_backup_for_a_recipient_opens_with_that_private_key_only():
    mine, other = (PrivateKey(X25519PrivateKey.generate()) for _ in range(2))
    parsed = parse_backup(sealed_to(CREDENTIALS, mine.public))
    assert parsed.recipient == mine.public.text
    assert parsed.open_with_key(mine) == CREDENTIALS
    with pytest.raises(WrongKey):
        parsed.open_with_key(other)
    with pytest.raises(WrongKey, match="not for a passphrase"):
        parsed.open_with_passphrase(PASSPHRASE)


def test_another_passphrase_or_kind_of_key_does_not_open(raw):
    with pytest.raises(WrongKey):
        parse_backup(raw).open_with_passphrase(PASSPHRASE + "!")
    with pytest.raises(WrongKey, match="not for a recipient"):
        parse_backup(raw).open_with_key(PrivateKey(X25519PrivateKey.generate()))


def test_a_passphrase_that_can_be_guessed_is_refused():
    with pytest.raises(VaultError, match="12 characters"):
        sealed_with_passphrase(CREDENTIALS, "short")


def test_every_flipped_byte_and_every_truncation_is_noticed(raw):
    def outcome(damaged):
        try:
            return parse_backup(damaged).open_with_passphrase(PASSPHRASE)
        except (VaultDamaged, WrongKey):
            return None

    for position in range(len(raw)):
        flipped = raw[:position] + bytes([raw[position] ^ 4]) + raw[position + 1 :]
        assert outcome(flipped) in (None, CREDENTIALS), position
        assert outcome(raw[:position]) in (None, CREDENTIALS), position
    # only white space around the object may change without harm
    harmless = [n for n in range(len(raw)) if outcome(raw[:n]) is not None]
    assert harmless in ([], [len(raw) - 1])


@pytest.mark.parametrize(
    "lock",
    [
        None, [], {"kind": "open"}, {"kind": "passphrase"}, {"kind": "recipient"}, {"kind": "recipient", "publicKey": 5},
    ],
)  # fmt: skip
def test_a_lock_of_another_shape_is_damage(raw, lock):
    with pytest.raises(VaultDamaged):
        parse_backup(changed(raw, lock=lock))


@pytest.mark.parametrize(
    "parameters",
    [{"n": 2**30}, {"n": 2**17, "r": 1024}, {"p": 10**6}, {"n": 3}, {"n": 0}, {"r": 0}, {"p": 0}, {"n": True}, {"n": "2"},
     {"iv": "AAAA"}, {"salt": "!"}],
)  # fmt: skip
def test_a_lock_that_would_cost_gigabytes_or_is_none_is_damage(raw, parameters):
    with pytest.raises(VaultDamaged):
        parse_backup(locked(raw, **parameters))


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b'{"format": "x"}', b'{"format": "easyalert-vault-backup", "version": 2}']
)
def test_what_is_no_backup_is_named_as_such(document):
    with pytest.raises(VaultDamaged, match="backup"):
        parse_backup(document)


@pytest.mark.parametrize("content", [{}, {"credentials": []}, {"credentials": {"a": 1}}, {"credentials": {"a\n": {}}}])
def test_a_backup_of_something_else_is_refused(content, monkeypatch):
    monkeypatch.setattr(backup, "_plaintext", lambda _: json.dumps(content).encode())
    with pytest.raises(VaultDamaged, match="opens, but"):
        parse_backup(sealed_with_passphrase({}, PASSPHRASE)).open_with_passphrase(PASSPHRASE)
