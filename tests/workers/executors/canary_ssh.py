"""The canary case of `ssh`: a server that says every secret back wherever it has a word, for what a real sshd keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.canaries.case import Case, Job, Secret
from tests.support.ssh_server import own_ssh_server


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """It repeats password and sudo password in output, stderr, exit text; a script comes back as it was sent."""
    password, sudo = secret.plain("ssh password"), secret.plain("ssh sudo password")
    holding = 0

    async def handle(process) -> None:
        nonlocal holding
        command = process.command or ""
        if command == "hang":
            holding += 1
            process.stdout.write(f"{password}\n".encode())
            await process.channel.wait_closed()
            return
        process.stdout.write(f"out {password} {sudo}\n".encode())
        process.stderr.write(f"err {password} {sudo}\n".encode())
        process.exit(0 if command == "repeat" else 3)

    with own_ssh_server(handle) as entry:
        entry |= {"username": "ada", "password": password, "sudoPassword": sudo}
        yield Case(
            jobs=(
                Job("ssh.executeCommand", {"command": "repeat", "timeout": 60}, entry),
                Job("ssh.executeCommand", {"command": "fail", "timeout": 60}, entry, ends="error"),
                Job("ssh.executeCommand", {"command": "x", "sudo": True, "timeout": 60}, entry, ends="error"),
                Job("ssh.executeScript", {"script": "true", "timeout": 60}, entry, ends="error"),
                Job("ssh.testConnection", {}, entry, redacts=False),
                Job(
                    "ssh.executeCommand", {"command": "true"},
                    entry | {"privateKey": secret("ssh private key", lines=True), "passphrase": secret("ssh passphrase")},
                    ends="error", redacts=False,
                ),
            ),
            hanging=Job("ssh.executeCommand", {"command": "hang", "timeout": 600}, entry),
            holds=lambda: holding,
        )  # fmt: skip
