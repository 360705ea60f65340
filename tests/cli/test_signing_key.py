from __future__ import annotations

import base64
import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from cli.__main__ import main
from cli.signing_key import load
from easyalert.policy.signatures import read_keys


def test_a_key_is_made_once_and_only_its_public_half_is_shown(tmp_path, capsys):
    file = tmp_path / "ops.key"
    previous = os.umask(0)
    try:
        assert main(["signing-key", str(file)]) == 0
    finally:
        os.umask(previous)
    first = capsys.readouterr()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = load(file)
    assert list(read_keys(first.out.encode(), file).values()) == [key.public_key().public_bytes_raw()]
    assert main(["signing-key", str(file)]) == 0
    again = capsys.readouterr()
    assert again.out == first.out, "an existing key is shown, not replaced"
    secret = base64.b64encode(key.private_bytes_raw()).decode()
    body = "".join(file.read_text().splitlines()[1:-1])
    for text in (secret, body, key.private_bytes_raw().hex()):
        assert text not in first.out + first.err + again.out + again.err


def test_a_key_that_others_can_read_is_not_used(tmp_path, capsys):
    file = tmp_path / "ops.key"
    main(["signing-key", str(file)])
    file.chmod(0o640)
    assert main(["signing-key", str(file)]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path, capsys):
    link = tmp_path / "ops.key"
    link.symlink_to(tmp_path / "elsewhere")
    assert main(["signing-key", str(link)]) == 2
    assert "cannot be made" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


OTHER = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
LOCKED = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no private key"), (b"x", "no private key"), (OTHER, "another kind"), (LOCKED, "passphrase")],
)
def test_what_is_no_key(tmp_path, capsys, content, says):
    file = tmp_path / "ops.key"
    file.write_bytes(content)
    file.chmod(0o600)
    assert main(["signing-key", str(file)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_a_folder_that_is_not_there(tmp_path, capsys):
    assert main(["signing-key", str(tmp_path / "no" / "ops.key")]) == 2
    assert "cannot be made" in capsys.readouterr().err
