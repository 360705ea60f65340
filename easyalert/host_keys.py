"""The SSH host keys this agent has pinned: `STATE_DIR/known_hosts`, in OpenSSH's form, so that people can read it.

One line is one key: `name type base64`, where the name is the host, or `[host]:port` on any port but 22. Lines with
markers, patterns or hashed names, which only a person can have written, are kept and count for nothing: a host is
pinned by its own exact name and port, or not at all.

Writers exclude one another by a lock on the folder, start from what is on the disk and replace the file as a whole.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from easyalert.errors import AgentFault
from easyalert.files import write_atomically

SSH_PORT: Final = 22
_MARKS: Final = ("#", "@", "|", "*", "?", "!")

Trust = Literal["strict", "tofu"]
"""What happens with a host nobody knows: refused, or its key is pinned on first use."""


@dataclass(frozen=True)
class HostKey:
    """A public host key: `type` as `ssh-ed25519`, `data` in base64."""

    type: str
    data: str

    @classmethod
    def read(cls, text: str) -> HostKey:
        """From `type base64 [comment]`. Raises ValueError for anything else."""
        parts = text.split()
        try:
            raw = base64.b64decode(parts[1], validate=True)
        except (IndexError, binascii.Error, ValueError):
            raise ValueError("not a host key: expected is 'type base64'") from None
        size = int.from_bytes(raw[:4], "big")
        if raw[4 : 4 + size] != parts[0].encode():  # the key names its own type, RFC 4253 section 6.6
            raise ValueError("not a host key: its type and its data do not fit")
        return cls(parts[0], parts[1])

    @property
    def fingerprint(self) -> str:
        """As OpenSSH shows it: `SHA256:…`."""
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.type} {self.data}"


class HostKeys(Protocol):
    """What an executor may know and do about host keys."""

    @property
    def trust(self) -> Trust:
        """The owner's rule for hosts nobody knows."""

    def of(self, host: str, port: int) -> list[HostKey]:
        """The pinned keys; empty when the host is not pinned. Raises AgentFault when they cannot be read."""

    def pin(self, host: str, port: int, keys: Iterable[HostKey]) -> list[HostKey]:
        """Pin `keys` unless the host is pinned already; the keys that are pinned now. Raises AgentFault."""


class NoHostKeys:
    """Nothing is pinned, and nothing will be."""

    trust: Trust = "strict"

    def of(self, host: str, port: int) -> list[HostKey]:
        """None."""
        del host, port
        return []

    def pin(self, host: str, port: int, keys: Iterable[HostKey]) -> list[HostKey]:
        """Refused: there is no place for them."""
        del keys
        raise AgentFault(f"the host key of {host_name(host, port)} cannot be pinned here")


class PinnedHostKeys:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, host: str, port: int) -> list[HostKey]:
        """As HostKeys."""
        return _keys_of(self._lines(), host_name(host, port))

    def pin(self, host: str, port: int, keys: Iterable[HostKey]) -> list[HostKey]:
        """As HostKeys."""
        return self._pin(host, port, keys, replace=False)[0]

    def replace(self, host: str, port: int, keys: Iterable[HostKey]) -> list[HostKey]:
        """Pin `keys` instead of what is pinned; none: forget the host. The former keys. Raises AgentFault."""
        return self._pin(host, port, keys, replace=True)[1]

    def _pin(
        self, host: str, port: int, keys: Iterable[HostKey], *, replace: bool
    ) -> tuple[list[HostKey], list[HostKey]]:
        """What is pinned now, and what was before."""
        name, wanted = host_name(host, port), list(dict.fromkeys(keys))
        with self._locked():
            lines = self._lines()
            there = _keys_of(lines, name)
            if there and not replace:
                return there, there
            kept = [line for line in lines if _read(line) is None or _name_in(line) != name]
            text = "".join(f"{line}\n" for line in [*kept, *(f"{name} {key}" for key in wanted)])
            new = not self.path.exists()
            try:
                write_atomically(self.path, text.encode())
                if new and os.geteuid() == 0:  # `sudo easyalert-agent …`: the agent's own account has to read it
                    folder = self.path.parent.stat()
                    os.chown(self.path, folder.st_uid, folder.st_gid)
            except OSError as error:
                raise AgentFault(f"{self.path} cannot be written ({error.strerror}), so nothing was pinned") from None
        return wanted, there

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        except UnicodeDecodeError:
            raise AgentFault(f"{self.path} is no text; repair it, or move it away and pin the hosts again") from None
        except OSError as error:
            raise AgentFault(f"{self.path} cannot be read: {error.strerror}") from None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # the folder itself: a lock file made by root would lock the agent's own account out
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise AgentFault(f"{self.path.parent} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class AgentHostKeys(PinnedHostKeys):
    """What jobs of this agent get."""

    def __init__(self, path: Path, trust: Trust, told: Callable[[str, list[HostKey]], None]) -> None:
        """`told` is called with a host's name and keys when they were pinned here."""
        super().__init__(path)
        self.trust: Trust = trust
        self._told = told

    def pin(self, host: str, port: int, keys: Iterable[HostKey]) -> list[HostKey]:
        """As HostKeys."""
        wanted, known = list(keys), bool(self.of(host, port))
        pinned = super().pin(host, port, wanted)
        if not known and pinned == wanted:
            self._told(host_name(host, port), pinned)
        return pinned


def host_name(host: str, port: int) -> str:
    """As known_hosts has it: `web-1`, `[web-1]:2222`. In lower case: names of hosts have no other."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def split_host(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[address]:port`, an IPv6 literal: host and port, None where no port is named."""
    host, _, port = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or not port.isascii() or not port.isdecimal() or (":" in host and not bracketed):
        return text.strip().strip("[]"), None
    return host.strip("[]"), int(port)


def _keys_of(lines: list[str], name: str) -> list[HostKey]:
    return [key for line in lines if _name_in(line) == name and (key := _read(line)) is not None]


def _name_in(line: str) -> str:
    return line.split(maxsplit=1)[0].lower() if line.strip() else ""


def _read(line: str) -> HostKey | None:
    if not line.strip() or any(mark in _name_in(line) for mark in _MARKS):
        return None
    try:
        return HostKey.read(line.split(maxsplit=1)[1])
    except (IndexError, ValueError):
        return None
