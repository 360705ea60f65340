import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault import cipher
from vault.cipher import bound_to, decode_base64, seal, unseal

KEY = bytes(32)


def test_what_is_sealed_opens_with_its_key_and_name_only():
    sealed = seal(KEY, b"text", b"conn-1")
    assert set(sealed) == {"iv", "data"}
    assert unseal(KEY, sealed, b"conn-1") == b"text"
    assert unseal(KEY, sealed, b"conn-2") is None
    assert unseal(KEY, sealed, None) is None
    assert unseal(bytes([1] * 32), sealed, b"conn-1") is None


def test_the_form_is_a_12_byte_iv_and_the_tag_at_the_end(monkeypatch):
    monkeypatch.setattr(cipher.os, "urandom", bytes)
    sealed = seal(KEY, b"text", b"conn-1")
    assert decode_base64(sealed["iv"]) == bytes(12)
    assert decode_base64(sealed["data"]) == AESGCM(KEY).encrypt(bytes(12), b"text", b"conn-1")


def test_no_iv_is_used_twice():
    assert len({seal(KEY, b"text", b"x")["iv"] for _ in range(500)}) == 500


@pytest.mark.parametrize(
    "sealed",
    [
        None, "text", 7, [], {}, {"iv": "AAAA"}, {"iv": None, "data": None}, {"iv": 1, "data": 2},
        {"iv": "AAAAAAAAAAAAAAAA", "data": ""}, {"iv": "AAAAAAAAAAAAAAAA", "data": "AAAA"},
        {"iv": "!AAAAAAAAAAAAAAAA", "data": "A" * 64}, {"iv": "AAAA", "data": "A" * 64},
        {"iv": "AAAAAAAAAAAAAAAA", "data": "ä" * 64}, {"iv": "", "data": "A" * 64},
    ],
)  # fmt: skip
def test_a_wrong_shape_does_not_open_and_does_not_crash(sealed):
    assert unseal(KEY, sealed, b"conn-1") is None


@pytest.mark.parametrize("text", ["AA=A", "AAA", "A\nAA", " AAAA", "AA-_", None, 3, b"AAAA"])
def test_base64_is_strict(text):
    assert decode_base64(text) is None


def test_a_name_that_cannot_be_utf8_is_still_bytes():
    assert bound_to("conn-ä") == "conn-ä".encode()
    assert bound_to("\ud800")
