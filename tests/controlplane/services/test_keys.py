import pytest

from controlplane.services import keys


def test_a_key_is_55_bytes_with_public_look_up_part():
    key = keys.new_agent_key()
    assert key.startswith("ea_agent_")
    assert len(key.encode()) == 55
    assert keys.lookup_prefix(key) == key[9:17]


def test_keys_differ():
    assert len({keys.new_agent_key() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "spoil",
    [
        lambda k: k[:-1],
        lambda k: k + "a",
        lambda k: k + "\n",
        lambda k: " " + k,
        lambda k: k.upper(),
        lambda k: k[:-1] + ("a" if k[-1] != "a" else "b"),
        lambda k: k[:20] + ("a" if k[20] != "a" else "b") + k[21:],
        lambda k: k.replace("ea_agent_", "ea_agens_"),
        lambda k: k[:30] + "é" + k[31:],
        lambda _: "",
        lambda _: "ea_agent_" + "a" * 200,
    ],
)
def test_a_mistyped_or_cut_key_is_recognised_without_a_look_up(spoil):
    assert keys.lookup_prefix(spoil(keys.new_agent_key())) is None


def test_hash_and_verify():
    key, other = keys.new_agent_key(), keys.new_agent_key()
    hashed = keys.hash_key(key)
    assert key not in hashed
    assert keys.verify_key(key, hashed)
    assert not keys.verify_key(other, hashed)


def test_operator_tokens():
    token = keys.new_operator_token()
    assert keys.is_operator_token(token)
    assert not keys.is_operator_token(token[:-1] + "!")
    assert not keys.is_operator_token(keys.new_agent_key())


def test_digest_takes_any_text():
    assert len(keys.digest("\ud800")) == 64
