"""Whom to believe that it is the server: which host keys count for a connection.

First match wins (contract 3.1, and the agent's own pins between its second and third rule):

1. `knownHostsPath` of the vault's entry: that file alone.
2. `strictHostKeyChecking` is JSON `false`: any key.
3. Keys the agent has pinned for this host and port (`easyalert-agent vault scan-host`, or a first use): those alone.
4. `~/.ssh/known_hosts` of the agent's account, if it knows the host.
5. `SSH_HOST_KEYS=tofu`: the keys it shows now are pinned, then it is met again under rule 3. No credential is sent
   before. By default the host is refused, with the command that pins its keys: whoever stands between agent and host
   on the first day would be believed for ever.
"""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from easyalert.errors import CredentialError, TargetError
from easyalert.host_key_scan import Dialled, scan_host_keys
from easyalert.host_keys import HostKey, host_name
from easyalert.ssh_library import asyncssh
from workers.sdk.context import Context
from workers.sdk.ssh_connection import LogIn

KNOWN_HOSTS_MAX_BYTES: Final = 4 * 1024 * 1024

Known = asyncssh.SSHKnownHosts | tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]] | None


@dataclass(frozen=True)
class Believed:
    """`known` is asyncssh's `known_hosts`: None believes everybody. `by` says whose word it is, for sentences."""

    known: Known
    by: str
    pinned: tuple[HostKey, ...] = ()

    def refusal(self, at: LogIn, shown: HostKey | None) -> TargetError:
        """What to say of a host that shows a key that does not count."""
        name = host_name(at.host, at.port)
        key = f" ({shown.type} {shown.fingerprint})" if shown else ""
        if self.pinned:
            wanted = ", ".join(key.fingerprint for key in self.pinned)
            return TargetError(
                f"the host key of {name}{key} is not the one this agent has pinned ({wanted}), so nothing was sent: "
                "somebody may stand in between. If the host was set up anew, compare the key and run on the agent: "
                f"easyalert-agent vault scan-host {shlex.quote(at.where)} --replace"
            )
        return TargetError(
            f"the host key of {name}{key} is not in {self.by}, so nothing was sent; if the key is right, add it there"
        )


async def believed(ctx: Context, at: LogIn, address: str, dialled: Dialled) -> Believed:
    """The rules above. `address` is where the host was found, empty when another host looks it up.

    Raises CredentialError for an unusable file, TargetError for a host that nobody knows, AgentFault.
    """
    if at.known_hosts_path is not None:
        return Believed(_read_strictly(at.known_hosts_path), f"{at.known_hosts_path} (knownHostsPath)")
    if at.strict_host_key_checking is False:
        return Believed(None, "nobody")
    pinned = ctx.host_keys.of(at.host, at.port)
    if pinned:
        return _of_pins(pinned)
    known, own = _read_own()
    if known is not None and any(known.match(at.host, address, at.port if at.port != 22 else None)):
        return Believed(known, own)
    if ctx.host_keys.trust == "tofu":
        return _of_pins(ctx.host_keys.pin(at.host, at.port, await scan_host_keys(at.host, at.port, dialled)))
    # of a connection through a jump host, the command says what to run there
    what = at.where if address or ctx.connection_id is None else ctx.connection_id
    raise TargetError(
        f"nobody knows the host key of {host_name(at.host, at.port)}, so it was not logged in to; run on the agent: "
        f"easyalert-agent vault scan-host {shlex.quote(what)}"
    )


def _of_pins(pinned: list[HostKey]) -> Believed:
    keys = [asyncssh.import_public_key(str(key)) for key in pinned]
    return Believed((keys, [], []), "the pinned keys", tuple(pinned))


def _read_strictly(path: str) -> asyncssh.SSHKnownHosts:
    """The file of a vault entry (contract 3.1): absolute, without `..`, no symbolic link. Raises CredentialError."""
    if not path.startswith("/") or ".." in Path(path).parts or "\0" in path:
        raise CredentialError("'knownHostsPath' must be a whole path without '..'")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = "is a symbolic link" if Path(path).is_symlink() else f"cannot be read ({error.strerror})"
        raise CredentialError(f"the file {path} of 'knownHostsPath' {why}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CredentialError(f"{path} of 'knownHostsPath' is no file")
    with os.fdopen(descriptor, "rb") as file:
        return _parsed(file.read(KNOWN_HOSTS_MAX_BYTES + 1), path)


def _read_own() -> tuple[asyncssh.SSHKnownHosts | None, str]:
    path = Path("~/.ssh/known_hosts").expanduser()
    try:
        with path.open("rb") as file:
            return _parsed(file.read(KNOWN_HOSTS_MAX_BYTES + 1), str(path)), str(path)
    except FileNotFoundError:
        return None, str(path)
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}") from None


def _parsed(raw: bytes, path: str) -> asyncssh.SSHKnownHosts:
    if len(raw) > KNOWN_HOSTS_MAX_BYTES:
        raise CredentialError(f"{path} is larger than {KNOWN_HOSTS_MAX_BYTES} bytes")
    try:
        return asyncssh.import_known_hosts(raw.decode())
    except ValueError:  # its text quotes the line
        raise CredentialError(f"{path} holds a line that is no entry of known_hosts") from None
