from __future__ import annotations

import json
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from easyalert.delivery_key import ensure_delivery_key, new_delivery_key, public_delivery_key
from easyalert.errors import ConfigurationError
from easyalert.sealing import PrivateKey

AGENT = PrivateKey(X25519PrivateKey.generate())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "delivery_key.json"


def raw(key):
    return key.private_bytes_raw()


def test_it_is_made_once_and_found_again(path):
    assert public_delivery_key(path) is None
    made = ensure_delivery_key(path, AGENT)
    assert raw(ensure_delivery_key(path, AGENT)) == raw(made)
    assert public_delivery_key(path) == made.public_key().public_bytes_raw()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_file_opens_nothing_by_itself(path):
    made = ensure_delivery_key(path, AGENT)
    content = path.read_bytes()
    assert raw(made).hex() not in content.hex()
    assert set(json.loads(content)) == {"publicKey", "nonce", "wrappedPrivateKey", "madeAt"}


def test_a_rotation_leaves_nothing_of_the_former_key(path):
    former = ensure_delivery_key(path, AGENT)
    new = new_delivery_key(path, AGENT)
    assert raw(new) != raw(former)
    assert raw(ensure_delivery_key(path, AGENT)) == raw(new)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_lost_file_is_replaced_by_a_new_pair(path):
    former = ensure_delivery_key(path, AGENT)
    path.unlink()
    assert raw(ensure_delivery_key(path, AGENT)) != raw(former)


def test_under_another_agent_key_there_is_a_new_pair_and_the_old_file_is_kept_aside(path):
    former = ensure_delivery_key(path, AGENT)
    kept = path.read_bytes()
    other = PrivateKey(X25519PrivateKey.generate())
    made = ensure_delivery_key(path, other)
    assert raw(made) != raw(former)
    assert raw(ensure_delivery_key(path, other)) == raw(made)
    aside = [file for file in path.parent.iterdir() if file != path]
    assert [file.read_bytes() for file in aside] == [kept]


@pytest.mark.parametrize("name", ["publicKey", "nonce", "wrappedPrivateKey"])
def test_a_damaged_field_is_never_used(path, name):
    former = ensure_delivery_key(path, AGENT)
    document = json.loads(path.read_text())
    for damaged in (None, "AAAA", "é", document[name][::-1], document[name].swapcase()):
        path.write_text(json.dumps({**document, name: damaged}))
        assert raw(ensure_delivery_key(path, AGENT)) != raw(former)
        assert public_delivery_key(path) == ensure_delivery_key(path, AGENT).public_key().public_bytes_raw()


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{", b"null"])
def test_any_other_file_has_no_public_key(path, content):
    path.write_bytes(content)
    assert public_delivery_key(path) is None
    assert ensure_delivery_key(path, AGENT)


def test_a_folder_that_is_missing_is_named(path):
    missing = path.parent / "missing" / path.name
    for make in (ensure_delivery_key, new_delivery_key):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            make(missing, AGENT)


def test_one_written_while_another_process_reads_is_whole_at_every_moment(path):
    """The writer replaces the file a hundred times; whoever reads meanwhile finds a pair that fits."""
    ensure_delivery_key(path, AGENT)
    writer = os.fork()
    if writer == 0:
        for _ in range(100):
            new_delivery_key(path, AGENT)
        os._exit(0)
    done = 0
    while not done:
        assert public_delivery_key(path) is not None
        ensure_delivery_key(path, AGENT)
        done, status = os.waitpid(writer, os.WNOHANG)
    assert status == 0
    assert [file.name for file in path.parent.iterdir()] == [path.name]
