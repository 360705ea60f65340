"""Asking a real sshd for its host keys."""

from __future__ import annotations

import asyncio
import socket

import pytest

from easyalert.errors import TargetError
from easyalert.host_key_scan import scan_host_keys
from tests.support.raw_tcp import rest, served
from tests.support.ssh_server import ssh_server

pytestmark = pytest.mark.system


def scan(port):
    async def dialled():
        made = socket.create_connection(("127.0.0.1", port))
        made.setblocking(False)
        return {"sock": made}

    async def within():
        async with asyncio.timeout(60):
            return await scan_host_keys("127.0.0.1", port, dialled)

    return asyncio.run(within())


@pytest.mark.parametrize("kinds", [("ed25519", "ecdsa", "rsa"), ("rsa",), ("ecdsa",)])
def test_every_kind_a_server_has(tmp_path, kinds):
    with ssh_server(tmp_path / "server", host_keys=kinds) as server:
        found = scan(server.port)
        assert [key.fingerprint for key in found] == [server.fingerprint(kind) for kind in kinds]
        assert "Accepted" not in server.log()
        assert "Failed" not in server.log()


def test_what_hangs_up_has_none():
    with served(lambda _made: None) as (port, _), pytest.raises(TargetError, match="no host key"):
        scan(port)


def test_what_says_something_else():
    def answer(made):
        made.sendall(b"SSH-1.5-ancient\r\n")
        return rest(made)

    with served(answer) as (port, _), pytest.raises(TargetError, match="no host key"):
        scan(port)
