import json
import os
import stat

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from easyalert import sealing
from easyalert.errors import ConfigurationError
from easyalert.sealing import PrivateKey, PublicKey, ensure_key_pair, load_private_key, load_public_key, seal_info

KEY = PrivateKey(X25519PrivateKey.generate())


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(sealing, "_ITERATIONS", 1)  # what is tested is not how slow it is
    return tmp_path / "agent_key.json"


@given(st.binary(max_size=2000), st.text(max_size=30))
@settings(max_examples=40)
def test_round_trip(plaintext, job_id):
    box = KEY.public.seal(plaintext, seal_info(job_id))
    assert KEY.open(box, seal_info(job_id)) == plaintext


def test_a_box_shows_nothing_and_never_looks_the_same():
    boxes = {KEY.public.seal(b"secret-parameter", seal_info("job_1")) for _ in range(3)}
    assert len(boxes) == 3
    assert all(b"secret" not in box for box in boxes)


def test_a_box_is_bound_to_its_job():
    box = KEY.public.seal(b"x", seal_info("job_1"))
    with pytest.raises(InvalidTag):
        KEY.open(box, seal_info("job_2"))


def test_a_box_is_bound_to_its_key():
    box = KEY.public.seal(b"x", b"info")
    with pytest.raises(InvalidTag):
        PrivateKey(X25519PrivateKey.generate()).open(box, b"info")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 47, 60])
def test_a_cut_box_does_not_open(size):
    box = KEY.public.seal(b"some parameters", b"info")
    with pytest.raises(InvalidTag):
        KEY.open(box[:size], b"info")


@pytest.mark.parametrize("position", [0, 31, 32, -1])
def test_a_changed_box_does_not_open(position):
    box = bytearray(KEY.public.seal(b"some parameters", b"info"))
    box[position] ^= 1
    with pytest.raises((InvalidTag, ValueError)):
        KEY.open(bytes(box), b"info")


def test_ids_with_lone_surrogates_can_be_bound():
    assert seal_info("\ud800") != seal_info("\ud801")


def test_keys_show_nothing_in_text():
    assert KEY._key.private_bytes_raw().hex() not in f"{KEY!r} {vars(KEY)!r}"


# ---- the file -------------------------------------------------------------------------------------------------------


def test_the_first_start_makes_a_pair_that_fits(path):
    assert ensure_key_pair(path, "api-key") is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    box = load_public_key(path).seal(b"parameters", b"info")
    assert load_private_key(path, ["api-key"]).open(box, b"info") == b"parameters"


def test_the_public_key_for_the_wire_is_32_bytes_of_base64(path):
    ensure_key_pair(path, "api-key")
    text = load_public_key(path).text
    assert len(text) == 44
    assert text == json.loads(path.read_text())["publicKey"]


def test_later_starts_keep_the_pair(path):
    ensure_key_pair(path, "api-key")
    before = path.read_bytes()
    assert ensure_key_pair(path, "api-key", "older-key") is True
    assert path.read_bytes() == before


def test_the_file_alone_opens_nothing(path):
    ensure_key_pair(path, "api-key")
    assert load_private_key(path, ["another-key"]) is None
    assert load_private_key(path, []) is None
    assert b"api-key" not in path.read_bytes()


def test_any_of_the_given_keys_opens(path):
    ensure_key_pair(path, "api-key")
    assert load_private_key(path, ["new-key", "api-key"]) is not None


def test_after_a_rotation_the_pair_is_kept_under_the_new_key(path):
    ensure_key_pair(path, "old-key")
    box = load_public_key(path).seal(b"waiting job", b"info")
    assert ensure_key_pair(path, "new-key", "old-key") is True
    assert load_private_key(path, ["old-key"]) is None
    assert load_private_key(path, ["new-key"]).open(box, b"info") == b"waiting job"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_pair_no_key_opens_is_kept_aside_and_said(path):
    ensure_key_pair(path, "lost-key")
    before = path.read_bytes()
    assert ensure_key_pair(path, "new-key", "wrong-key") is False
    (aside,) = path.parent.glob("agent_key.json.unopened-*")
    assert aside.read_bytes() == before
    assert load_private_key(path, ["new-key"]) is not None


def damaged(path, **changes):
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **changes}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("publicKey", "AAAA"),
        ("publicKey", None),
        ("publicKey", "é"),
        ("publicKey", "A" * 43 + "="),
        ("salt", None),
        ("salt", 5),
        ("nonce", ""),
        ("nonce", "AAAA"),
        ("wrappedPrivateKey", "not base64!"),
        ("wrappedPrivateKey", None),
    ],
)
def test_a_damaged_field_is_named_and_never_written_over(path, field, value):
    ensure_key_pair(path, "api-key")
    damaged(path, **{field: value})
    before = path.read_bytes()
    for use in (lambda: load_private_key(path, ["api-key"]), lambda: ensure_key_pair(path, "api-key")):
        with pytest.raises(ConfigurationError, match=f"damaged at '{field}'; move it away"):
            use()
    assert path.read_bytes() == before


def test_a_public_half_of_impossible_length_is_damage(path):
    ensure_key_pair(path, "api-key")
    damaged(path, publicKey="AAAA")
    with pytest.raises(ConfigurationError, match="damaged at 'publicKey'"):
        load_public_key(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_file_that_is_no_key_file(path, content):
    path.write_bytes(content)
    for use in (lambda: load_public_key(path), lambda: ensure_key_pair(path, "api-key")):
        with pytest.raises(ConfigurationError, match=r"agent_key\.json"):
            use()
    assert path.read_bytes() == content


def test_a_missing_file_is_a_configuration_error(path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_public_key(path)


def test_a_folder_that_cannot_be_written_is_a_configuration_error(path):
    with pytest.raises(ConfigurationError, match=r"cannot be written: (No such file|Not a directory)"):
        ensure_key_pair(path / "missing" / "agent_key.json", "api-key")


def test_the_wrapping_key_is_derived_slowly():
    assert sealing._ITERATIONS == 600_000


def test_a_key_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        PublicKey(os.urandom(31))
