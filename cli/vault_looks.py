"""`easyalert-agent vault list | doctor`: what is in the vault and whether it opens. No value is ever printed."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

from cli.terminal import coloured, plain
from easyalert.runtime import EXIT_DEGRADED, EXIT_OK
from easyalert.settings import AgentSettings
from vault import Vault, VaultKey, VaultState
from vault.files import backup_of


def opened(settings: AgentSettings, path: Path | None = None) -> Vault:
    """The vault (or another file of its kind) as the agent's keys see it; no disk is touched yet."""
    previous = settings.agent_api_key_previous
    key = VaultKey(settings.agent_api_key.get_secret_value(), None if previous is None else previous.get_secret_value())
    return Vault(settings.vault_path if path is None else path, key)


def list_names(settings: AgentSettings, options: argparse.Namespace) -> int:
    """Print the ids of all entries. Raises VaultError."""
    names = opened(settings).names()
    if options.json:
        print(json.dumps(names))
    else:
        print("\n".join(plain(name) for name in names) if names else "the vault holds no credentials yet")
    return EXIT_OK


def doctor(settings: AgentSettings, options: argparse.Namespace) -> int:
    """Check every entry, say what to do; exit code 4 when something is wrong."""
    path = settings.vault_path
    backup = backup_of(path)
    found = opened(settings, path).check()
    kept = opened(settings, backup).check() if backup.exists() else None
    advice = _advice(path, backup, found, kept)
    healthy = found.state in {"ok", "empty"}
    if options.json:
        report: dict[str, Any] = {
            "path": str(path),
            "state": found.state,
            "entries": found.entries,
            "damaged": list(found.damaged),
            "sentence": found.sentence,
            "backup": None if kept is None else {"path": str(backup), "state": kept.state, "entries": kept.entries},
            "next": advice,
        }
        print(json.dumps(report, indent=2))
        return EXIT_OK if healthy else EXIT_DEGRADED
    print(f"vault   {plain(path)}: {coloured(found.state, 'good' if healthy else 'bad')}, {found.entries} entries")
    print(f"        {plain(found.sentence)}")
    for name in found.damaged:
        print(f"        does not open: {plain(name)}")
    if kept is not None:
        print(f"backup  {plain(backup)}: {kept.state}, {kept.entries} entries")
    for line in advice:
        print(f"  next: {plain(line)}")
    return EXIT_OK if healthy else EXIT_DEGRADED


def _advice(path: Path, backup: Path, found: VaultState, kept: VaultState | None) -> list[str]:
    """Commands to run, most promising first."""
    usable = kept is not None and kept.state == "ok"
    match found.state:
        case "locked":
            return [
                "set AGENT_API_KEY, or AGENT_API_KEY_PREVIOUS, to the key this vault was last used with, and restart"
            ]
        case "damaged" if found.damaged:
            again = f"deliver again: {', '.join(found.damaged)}"
            older = f"or see what the backup holds: VAULT_PATH={_word(backup)} easyalert-agent vault list"
            return [again, older] if usable else [again]
        case "damaged" if usable:
            back = f"mv {_word(path)} {_word(f'{path}.damaged')} && cp -p {_word(backup)} {_word(path)}"
            return [f"stop the agent; {back}; start the agent"]
        case "damaged":
            away = f"mv {_word(path)} {_word(f'{path}.damaged')}"
            return [f"stop the agent; {away}; start it and deliver the credentials again"]
        case "unavailable":
            return [
                f"ls -ld {_word(path.parent)} {_word(path)}",
                "make both belong to the agent's account, the file with mode 0600",
            ]
        case _:
            return []


def _word(path: Path | str) -> str:
    return shlex.quote(str(path))
