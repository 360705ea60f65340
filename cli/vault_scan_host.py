"""`easyalert-agent vault scan-host`: an SSH server's host keys are fetched, shown, and pinned when a person says so."""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from cli.cancel import here
from cli.secrets_in import read_file
from cli.terminal import coloured, plain, table
from cli.vault_looks import opened
from easyalert.audit import record
from easyalert.errors import ConfigurationError, EntryNotFound, TargetError
from easyalert.files import private_folder
from easyalert.host_key_scan import scan_host_keys
from easyalert.host_keys import SSH_PORT, HostKey, PinnedHostKeys, host_name, split_host
from easyalert.netguard.judge import NetworkPolicy
from easyalert.netguard.racing import first_to_answer
from easyalert.netguard.resolver import resolve_and_judge
from easyalert.netguard.target import check_host
from easyalert.runtime import EXIT_OK
from easyalert.settings import AgentSettings

TIMEOUT_S: Final = 15.0
_KEYS_MAX_BYTES: Final = 1_048_576
_COMPARE: Final = (
    "compare with what the host itself says: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub (and others)"
)


def scan_host(settings: AgentSettings, options: argparse.Namespace) -> int:
    """Raises ConfigurationError when a person has to decide something, TargetError, VaultError, AgentFault."""
    host, port = _place(settings, options.target)
    name = host_name(host, port)
    private_folder(settings.state_dir)
    pins = PinnedHostKeys(settings.host_keys_path)
    former = pins.of(host, port)
    if options.forget:
        return _forget(settings, options, pins, (host, port), former)
    keys = _from_file(options.keys) if options.keys else asyncio.run(_scanned(host, port))
    report: dict[str, Any] = {"host": name, "keys": _shown(keys), "former": _shown(former), "pinned": False}
    if not options.json:
        print(f"host keys of {plain(name)}:")
        print("\n".join(f"  {line}" for line in table([(key.type, key.fingerprint) for key in keys])))
    if set(keys) == set(former):
        return _say(options, report | {"pinned": True}, "they are pinned already; nothing was changed")
    if former and not options.replace:
        if not options.json:
            print(coloured("other keys are pinned:", "bad"))
            print("\n".join(f"  {line}" for line in table([(key.type, key.fingerprint) for key in former])))
        raise ConfigurationError(
            f"other keys are pinned for {plain(name)}: somebody may stand in between. If the host was set up anew, "
            "compare the fingerprints and add --replace; nothing was changed"
        )
    if not options.yes:
        if options.json:
            return _say(options, report, "")
        _ask()
    if options.replace:
        pins.replace(host, port, keys)
    elif set(pins.pin(host, port, keys)) != set(keys):
        raise ConfigurationError(f"other keys have just been pinned for {plain(name)}; look again. Nothing was changed")
    told = {"host": name, "keys": [key.fingerprint for key in keys], "by": here()}
    record(settings.journal_path, settings.audit_dir, "hostKey.pinned", **told)
    return _say(options, report | {"pinned": True}, f"pinned for {plain(name)} in {plain(settings.host_keys_path)}")


def _place(settings: AgentSettings, target: str) -> tuple[str, int]:
    """The server of a connection of that name, else the host itself. Raises ConfigurationError."""
    vault = opened(settings)
    if target not in vault.names():
        named, at = split_host(target)
        return check_host(named), _port(at)
    entry = vault.get(target)
    host, port = entry.get("host"), _port(entry.get("port"))
    if not isinstance(host, str) or not host.strip():
        raise ConfigurationError(
            f"the vault's entry '{plain(target)}' names no host (its connection does): give HOST[:PORT] instead"
        )
    if entry.get("jumpHost"):
        jump = entry["jumpHost"]
        first = jump if isinstance(jump, str) else host_name(str(jump.get("host")), _port(jump.get("port")))
        behind, there = shlex.quote(host_name(plain(host), port)), f"-p {port} {plain(host)}"
        first, bare = plain(first), plain(split_host(first)[0])
        raise ConfigurationError(
            f"'{plain(target)}' goes through {first}: run `easyalert-agent vault scan-host {first}`, then "
            f"`ssh {bare} ssh-keyscan {there} | easyalert-agent vault scan-host {behind} --yes --keys -`"
        )
    return check_host(host.strip()), port


def _port(value: object) -> int:
    text = str(SSH_PORT if value is None else value).strip()
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ConfigurationError("a port is a number from 1 to 65535")
    return int(text)


async def _scanned(host: str, port: int) -> list[HostKey]:
    async def dialled() -> dict[str, Any]:
        addresses = await resolve_and_judge(host, port, NetworkPolicy(allow_private=True))
        try:
            _, made = await first_to_answer(addresses, partial(_connected, port=port), _discard)
        except OSError as error:
            raise TargetError(f"no connection to {host_name(host, port)} ({type(error).__name__})") from None
        return {"sock": made}

    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await scan_host_keys(host, port, dialled)
    except TimeoutError:
        raise TargetError(f"{host_name(host, port)} did not show its host keys within {TIMEOUT_S:g} s") from None


async def _connected(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)  # noqa: FBT003 - the standard library's own parameter
    try:
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


async def _discard(made: socket.socket) -> None:
    made.close()


def _from_file(name: str) -> list[HostKey]:
    raw = sys.stdin.buffer.read(_KEYS_MAX_BYTES) if name == "-" else read_file(Path(name), _KEYS_MAX_BYTES)
    found = []
    for line in raw.decode("utf-8", "replace").splitlines():
        words = line.split()
        for key in (words[1:3], words[:2]):  # with the host's name before it, or without
            try:
                found.append(HostKey.read(" ".join(key)))
                break
            except ValueError:
                continue
    if not found:
        raise ConfigurationError("no host key was read; expected are lines as ssh-keyscan writes them")
    return list(dict.fromkeys(found))


def _forget(
    settings: AgentSettings,
    options: argparse.Namespace,
    pins: PinnedHostKeys,
    place: tuple[str, int],
    former: Sequence[HostKey],
) -> int:
    name = host_name(*place)
    if not former:
        raise EntryNotFound(f"no host key of {plain(name)} is pinned; nothing was changed")
    pins.replace(*place, [])
    told = {"host": name, "keys": [key.fingerprint for key in former], "by": here()}
    record(settings.journal_path, settings.audit_dir, "hostKey.forgotten", **told)
    report = {"host": name, "keys": [], "former": _shown(former), "pinned": False}
    return _say(options, report, f"the host keys of {plain(name)} are forgotten")


def _ask() -> None:
    print(_COMPARE)
    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to ask at; add --yes to pin without asking")
    if input("pin them? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise ConfigurationError("nothing was pinned")


def _shown(keys: Sequence[HostKey]) -> list[dict[str, str]]:
    return [{"type": key.type, "fingerprint": key.fingerprint} for key in keys]


def _say(options: argparse.Namespace, report: dict[str, Any], line: str) -> int:
    print(json.dumps(report) if options.json else line)
    return EXIT_OK
