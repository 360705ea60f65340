"""The canary case of `winrm`: a host that says the password back in output, XML, UTF-16, faults, and its login."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.canaries.case import Case, Job, Secret
from tests.support.tls import throwaway_authority
from tests.support.wsman_server import FaultError, WsmanServer


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Over HTTP with encrypted messages, and over TLS."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = throwaway_authority(folder, "localhost")
        offers = ("Negotiate", "Basic")
        with WsmanServer(folder, offers=offers) as plain, WsmanServer(folder, authority, offers=offers) as tls:
            yield _case(secret, plain, tls, authority.root.read_text())


def _case(secret: Secret, plain: WsmanServer, tls: WsmanServer, root: str) -> Case:
    held: list[str] = []

    def entry(label: str, of: WsmanServer = plain, **more: Any) -> dict[str, Any]:
        password = secret.plain(f"winrm password, {label}")
        of.accounts[label] = password
        place = {"host": "localhost", "useSsl": True, "caCertificate": root} if of is tls else {"host": "127.0.0.1"}
        unused = secret(f"winrm unused field, {label}")
        return {**place, "port": of.port, "username": label, "password": password, "note": unused, **more}

    def told(command: Any) -> str:
        return plain.accounts.get(command.user) or tls.accounts[command.user]

    def echo(command: Any) -> None:
        for byte in f"before {told(command)} after\n".encode():
            command.out(bytes([byte]))
        command.err(f'#< CLIXML\r\n<Objs xmlns="x"><S S="Error">{told(command)}_x000A_</S></Objs>')
        command.err(told(command))
        command.exit(3)

    def wide(command: Any) -> None:
        command.out(f"{told(command)}\r\n".encode("utf-16-le"))

    def hang(command: Any) -> None:
        command.out(f"{told(command)}\n")
        held.append(command.user)
        command.wait()

    def refuse(handler: Any, _: Any) -> None:
        if handler.user.startswith("refused"):
            raise FaultError(1, "w:InternalError", f"no {plain.accounts[handler.user]}")

    for host in (plain, tls):
        host.programs |= {"echo": echo, "wide": wide, "hang": hang}
        host.fault["Command"] = refuse
    text = {"command": "echo", "timeout": 60}
    wrong = entry("wrong") | {"password": secret("wrong winrm password")}
    return Case(
        jobs=(
            Job("winrm.executeCommand", text, entry("echo"), ends="error"),
            Job("winrm.executeCommand", text, entry("echo-tls", tls), ends="error"),
            Job("winrm.executeScript", {"script": "wide", "timeout": 60}, entry("basic-tls", tls, transport="basic")),
            Job("winrm.executeScript", {"script": "wide", "timeout": 60}, entry("basic", transport="basic",
                allowUnencrypted=True)),
            Job("winrm.executeCommand", text, entry("refused"), ends="error"),
            Job("winrm.testConnection", {}, entry("test"), redacts=False),
            Job("winrm.testConnection", {}, wrong, ends="error", redacts=False),
            Job("winrm.testConnection", {}, entry("untrusted", tls, caCertificate=None), ends="error", redacts=False),
            Job("winrm.testConnection", {}, entry("closed") | {"port": 1}, ends="error", redacts=False),
            Job("winrm.executeScript", {"script": f"'{secret.sent('winrm script')}'", "timeout": 60}, entry("script"),
                redacts=False),
        ),
        hanging=Job("winrm.executeCommand", {"command": "hang", "timeout": 60}, entry("hanging")),
        holds=lambda: len(held),
    )  # fmt: skip
