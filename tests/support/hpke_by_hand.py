"""HPKE base mode, one message, written from RFC 9180, RFC 7748 and NIST SP 800-38D alone: no library of cryptography.

Slow and not constant in time; it checks what the product's library makes. DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
AES-GCM with a key of 16 bytes (the suite of RFC 9180, A.1) or 32 (the product's).
"""

from __future__ import annotations

import hashlib
import hmac

# ---- X25519 (RFC 7748, 5) -------------------------------------------------------------------------------------------

_P = 2**255 - 19


def x25519(scalar: bytes, u: bytes = (9).to_bytes(32, "little")) -> bytes:
    """The Montgomery ladder. Without `u`: the public half of `scalar`."""
    k = int.from_bytes(scalar, "little") & ~7 & ~(1 << 255) | (1 << 254)
    x1 = int.from_bytes(u, "little") & ((1 << 255) - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % _P, b * b % _P, d * a % _P, c * b % _P
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % _P, x1 * (da - cb) ** 2 % _P
        x2, z2 = aa * bb % _P, e * (aa + 121665 * e) % _P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, _P - 2, _P) % _P).to_bytes(32, "little")


# ---- AES (FIPS 197) and GCM (SP 800-38D) ----------------------------------------------------------------------------


def _times(a: int, b: int) -> int:
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def _substitute(value: int) -> int:
    inverse = next((i for i in range(256) if _times(value, i) == 1), 0)
    result = 0x63
    for turn in range(5):
        result ^= ((inverse << turn) | (inverse >> (8 - turn))) & 0xFF
    return result


_BOX = bytes(_substitute(value) for value in range(256))


def _round_keys(key: bytes) -> list[bytes]:
    words, length, constant = [key[i : i + 4] for i in range(0, len(key), 4)], len(key) // 4, 1
    while len(words) < 4 * (length + 7):
        word = words[-1]
        if len(words) % length == 0:
            word = bytes(_BOX[byte] for byte in word[1:] + word[:1])
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times(constant, 2)
        elif length > 6 and len(words) % length == 4:
            word = bytes(_BOX[byte] for byte in word)
        words.append(_xor(words[-length], word))
    return [b"".join(words[i : i + 4]) for i in range(0, len(words), 4)]


def _encrypt_block(keys: list[bytes], block: bytes) -> bytes:
    state = _xor(block, keys[0])
    for number, key in enumerate(keys[1:], 1):
        state = bytes(_BOX[state[(5 * i) % 16]] for i in range(16))
        if number < len(keys) - 1:
            state = b"".join(_mix(state[i : i + 4]) for i in range(0, 16, 4))
        state = _xor(state, key)
    return state


def _mix(c: bytes) -> bytes:
    return bytes(_times(c[i], 2) ^ _times(c[(i + 1) % 4], 3) ^ c[(i + 2) % 4] ^ c[(i + 3) % 4] for i in range(4))


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=False))


def _ghash(h: int, data: bytes) -> int:
    y = 0
    for i in range(0, len(data), 16):
        x, z, v = y ^ int.from_bytes(data[i : i + 16], "big"), 0, h
        for bit in range(127, -1, -1):
            z ^= v if (x >> bit) & 1 else 0
            v = (v >> 1) ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y


def _gcm(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    keys = _round_keys(key)
    blocks = range(2, 2 + (len(plaintext) + 15) // 16)
    stream = b"".join(_encrypt_block(keys, nonce + counter.to_bytes(4, "big")) for counter in blocks)
    text = _xor(plaintext, stream)
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, text))
    lengths = (8 * len(aad)).to_bytes(8, "big") + (8 * len(text)).to_bytes(8, "big")
    tag = _ghash(int.from_bytes(_encrypt_block(keys, bytes(16)), "big"), padded + lengths)
    return text + _xor(tag.to_bytes(16, "big"), _encrypt_block(keys, nonce + b"\0\0\0\1"))


# ---- HPKE (RFC 9180, 4 and 5) ---------------------------------------------------------------------------------------


def _extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    info = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    assert size <= hashlib.sha256().digest_size
    return hmac.digest(secret, info + b"\1", "sha256")[:size]


def seal_base(
    recipient: bytes, ephemeral: bytes, info: bytes, plaintext: bytes, *, aad: bytes = b"", key_bytes: int = 32
) -> tuple[bytes, bytes]:
    """Encapsulated key and ciphertext. `recipient`: a public key; `ephemeral`: the sender's private one."""
    enc = x25519(ephemeral)
    kem = b"KEM" + (0x20).to_bytes(2, "big")
    eae = _extract(kem, b"", b"eae_prk", x25519(ephemeral, recipient))
    shared = _expand(kem, eae, b"shared_secret", enc + recipient, 32)
    aead = {16: 1, 32: 2}[key_bytes]
    suite = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (0x20, 1, aead))
    context = b"\0" + _extract(suite, b"", b"psk_id_hash", b"") + _extract(suite, b"", b"info_hash", info)
    secret = _extract(suite, shared, b"secret", b"")
    key = _expand(suite, secret, b"key", context, key_bytes)
    nonce = _expand(suite, secret, b"base_nonce", context, 12)
    return enc, _gcm(key, nonce, plaintext, aad)
