"""What an SSH connection says (contract 3.1)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workers.sdk.ssh_connection import SshConnection


def connection(**fields):
    return SshConnection.model_validate({"host": "db-1", **fields})


def test_defaults():
    log_in = connection(password="p4ssw0rd").log_in()
    assert (log_in.where, log_in.username, log_in.jump_host if hasattr(log_in, "jump_host") else None) == (
        "db-1:22",
        "root",
        None,
    )
    assert log_in.strict_host_key_checking is True
    assert connection().jump() is None


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("b", "b", 22), ("b:2222", "b", 2222), ("[fd00::1]:2222", "fd00::1", 2222), ("fd00::1", "fd00::1", 22), ("[fd00::1]", "fd00::1", 22)],
)  # fmt: skip
def test_a_jump_host_as_text(text, host, port):
    jump = connection(jumpHost=text, username="ada", privateKey="key", passphrase="phrase", password="p4ssw0rd").jump()
    assert (jump.host, jump.port, jump.username) == (host, port, "ada")
    assert (jump.private_key, jump.passphrase, jump.password) == ("key", "phrase", "p4ssw0rd")


def test_a_jump_host_with_a_credential_of_its_own_gets_no_other():
    jump = connection(
        jumpHost={"host": "b", "password": "another"}, privateKey="key", passphrase="phrase", username="ada"
    ).jump()
    assert (jump.username, jump.private_key, jump.passphrase, jump.password) == ("root", None, None, "another")


def test_a_jump_hosts_checking_is_its_own():
    assert connection(strictHostKeyChecking=False, jumpHost="b").jump().strict_host_key_checking is True
    assert connection(jumpHost={"host": "b", "strictHostKeyChecking": False}).jump().strict_host_key_checking is False


@pytest.mark.parametrize(
    "field",
    [{"port": 0}, {"port": 70_000}, {"port": "x"}, {"username": "a\n"}, {"host": "a\nb"}, {"jumpHost": {"port": 1}}],
)
def test_what_cannot_be_used_is_refused(field):
    with pytest.raises(ValidationError):
        connection(**field)


def test_nothing_of_it_is_shown():
    made = connection(password="secret-1", privateKey="secret-2", jumpHost={"host": "b", "password": "secret-3"})
    assert "secret" not in repr(made) + str(made) + repr(made.log_in()) + str(made.jump())
