"""Real OpenSSH servers of the tests' own, on loopback, and accounts to log in to; all of it needs root."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil

from tests.support.ports import free_port
from tests.support.require import missing, require_program
from tests.support.waiting import eventually

PASSPHRASE = "passphrase-of-the-key"
_NO_SUCH_USER = 6
"""What userdel says."""


@dataclass(frozen=True)
class Account:
    """An account of this machine, made for the tests."""

    name: str
    password: str
    home: Path

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.name).pw_uid

    def processes(self) -> list[psutil.Process]:
        """What runs as the account, sshd's own aside."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.uids().real == self.uid and not process.name().startswith("sshd"):
                    found.append(process)
        return found


@contextlib.contextmanager
def account(home: Path, *, sudo: str = "") -> Iterator[Account]:
    """An account with a password of its own. `sudo`: a rule of sudoers for it, without the name."""
    if os.geteuid() != 0:
        missing("only root can make accounts to log in to")
    require_program("useradd", package="passwd")
    made = Account(f"ea{secrets.token_hex(5)}", f"pw-{secrets.token_hex(8)}", home)
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    _change(["useradd", "--no-create-home", "--home-dir", str(home), "--shell", "/bin/bash", made.name])
    rule = Path("/etc/sudoers.d") / made.name
    try:
        _change(["chpasswd"], f"{made.name}:{made.password}")
        os.chown(home, made.uid, made.uid)
        if sudo:
            require_program("sudo", package="sudo")
            rule.write_text(f"{made.name} {sudo}\n")
            rule.chmod(0o440)
        yield made
    finally:
        rule.unlink(missing_ok=True)
        for process in made.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        _change(["userdel", "--force", made.name], done=(0, _NO_SUCH_USER))


def _change(command: list[str], said: str = "", *, done: tuple[int, ...] = (0,)) -> None:
    """Change the accounts. Again when it failed: who finds them locked by another process gives up soon."""

    def changed() -> bool:
        return subprocess.run(command, input=said, text=True, check=False, capture_output=True).returncode in done

    eventually(changed, within=60, what=command[0])


class SshServer:
    """One sshd with its own configuration and host keys. `key` logs in every account it has."""

    def __init__(self, folder: Path, *configuration: str, host_keys: tuple[str, ...] = ("ed25519",)) -> None:
        self.folder = folder
        self.port = free_port()
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self._configuration = configuration
        self._host_keys = host_keys
        self._process: subprocess.Popen[bytes] | None = None
        self._sshd = require_program("sshd", "/usr/sbin/sshd", package="openssh-server")
        self.new_host_keys()

    def new_host_keys(self) -> None:
        """As after a reinstallation."""
        for kind in self._host_keys:
            path = self.folder / f"host_{kind}"
            path.unlink(missing_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", kind, "-f", path], check=True)

    def public_key(self, kind: str = "ed25519") -> str:
        """`ssh-ed25519 AAAA…`."""
        return " ".join((self.folder / f"host_{kind}.pub").read_text().split()[:2])

    def fingerprint(self, kind: str = "ed25519") -> str:
        """`SHA256:…`, as ssh-keygen has it."""
        shown = subprocess.run(
            ["ssh-keygen", "-lf", self.folder / f"host_{kind}.pub"], check=True, capture_output=True, text=True
        ).stdout
        return shown.split()[1]

    def known_hosts(self) -> Path:
        """A file that knows this server."""
        path = self.folder / "known_hosts"
        path.write_text(f"[127.0.0.1]:{self.port} {self.public_key()}\n")
        return path

    def private_key(self, *, form: str = "openssh", passphrase: str | None = None) -> str:
        if passphrase is None or form != "openssh":
            return self.key.export_private_key(form, passphrase=passphrase).decode()
        path = self.folder / "user_key"
        path.write_bytes(self.key.export_private_key("openssh"))
        path.chmod(0o600)
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f", path], check=True)
        return path.read_text()

    def start(self) -> SshServer:
        """Until it takes connections."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        keys = self.folder / "authorized_keys"
        keys.write_bytes(self.key.export_public_key())
        lines = [
            *self._configuration,
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"AuthorizedKeysFile {keys}", "StrictModes no", "PidFile none",
            "UsePAM yes", "MaxStartups 100", "MaxAuthTries 20", "PermitRootLogin no", "LogLevel VERBOSE", "UseDNS no",
            *(f"HostKey {self.folder / f'host_{kind}'}" for kind in self._host_keys),
        ]  # fmt: skip
        if self._knows("PerSourcePenalties=no"):
            lines.append("PerSourcePenalties no")
        lines += ["Subsystem sftp internal-sftp"] if not any("Subsystem" in line for line in lines) else []
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        with (self.folder / "sshd.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._sshd, "-D", "-e", "-f", self.folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=log
            )
        eventually(lambda: "Server listening" in self.log(), within=30, what="sshd listening")
        return self

    def _knows(self, option: str) -> bool:
        command = [self._sshd, "-t", "-o", option, "-h", self.folder / f"host_{self._host_keys[0]}", "-f", "/dev/null"]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def sessions(self) -> list[psutil.Process]:
        """Its processes for connections."""
        assert self._process is not None
        return [p for p in psutil.Process(self._process.pid).children(recursive=True) if p.name().startswith("sshd")]

    def drop_connections(self) -> None:
        """Kill the sessions' processes, as a crash of theirs would; what they had started runs on."""
        for process in self.sessions():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self.drop_connections()
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
            self._process = None

    def restart(self) -> None:
        """With whatever host keys there are now."""
        self.stop()
        self.start()


@contextlib.contextmanager
def ssh_server(folder: Path, *configuration: str, host_keys: tuple[str, ...] = ("ed25519",)) -> Iterator[SshServer]:
    folder.mkdir(parents=True, exist_ok=True)
    server = SshServer(folder, *configuration, host_keys=host_keys)
    try:
        yield server.start()
    finally:
        server.stop()


@contextlib.contextmanager
def own_ssh_server(
    handle: Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]] | None = None,
    *,
    session: Callable[[], asyncssh.SSHServerSession[bytes]] | None = None,
    **more: object,
) -> Iterator[dict[str, object]]:
    """A server for what no real sshd does; a vault entry for it. Anybody may log in.

    `handle` plays its commands; `session` instead decides what is answered to the request for one. `more`: asyncssh's.
    """

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            del username
            return False

        def session_requested(self) -> asyncssh.SSHServerSession[bytes] | bool:
            return session() if session else False

    loop = asyncio.new_event_loop()
    key = asyncssh.generate_private_key("ssh-ed25519")
    listening = loop.run_until_complete(
        asyncssh.create_server(
            Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=handle, encoding=None, config=None, **more
        )
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        entry = {"host": "127.0.0.1", "port": listening.get_port(), "password": "p4ssw0rd"}
        yield entry | {"strictHostKeyChecking": False}
    finally:
        ended = asyncio.run_coroutine_threadsafe(_closed(listening), loop)
        ended.result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _closed(listening: asyncssh.SSHAcceptor) -> None:
    listening.close()
    await listening.wait_closed()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
