"""`easyalert-agent vault …`: look at the vault and change it. No value is ever printed.

All of it works on the vault's file, under its lock, and not through the admin API: so there is one way, whether or not
the agent runs, and it needs neither token nor port. Running processes notice a changed file by themselves.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from cli.cancel import here
from cli.secrets_in import ask, credentials_from, read_line
from cli.terminal import plain
from cli.vault_backup import export, import_
from cli.vault_looks import doctor, list_names, opened
from easyalert.audit import record
from easyalert.errors import ConfigurationError, EntryNotFound
from easyalert.journal import Journal
from easyalert.rotation import Rotation
from easyalert.runtime import EXIT_OK
from easyalert.settings import AgentSettings, load_settings
from vault import check_connection_id

NEXT_AFTER_REKEY: Final = (
    "set AGENT_API_KEY to the new key, AGENT_API_KEY_PREVIOUS to the former one, and restart: until then no job starts",
    "remove AGENT_API_KEY_PREVIOUS when `easyalert-agent status` shows it healthy",
)


def main(options: argparse.Namespace) -> int:
    """Run the chosen subcommand. Raises ConfigurationError without AGENT_API_KEY: it opens the vault; VaultError."""
    settings = load_settings()
    commands = {
        "list": list_names,
        "doctor": doctor,
        "set": _set,
        "delete": _delete,
        "unbind": _unbind,
        "rekey": _rekey,
        "export": export,
        "import": import_,
        "scan-host": _scan_host,
    }
    return commands[options.vault_command](settings, options)


def _set(settings: AgentSettings, options: argparse.Namespace) -> int:
    connection_id = check_connection_id(options.id)
    vault = opened(settings)
    vault.put(connection_id, credentials_from(options.file))
    _record(settings, "credential.stored", connectionId=connection_id)
    _say(options, f"credentials of '{connection_id}' are stored", stored=connection_id)
    return EXIT_OK


def _delete(settings: AgentSettings, options: argparse.Namespace) -> int:
    connection_id = options.id
    vault = opened(settings)
    if connection_id not in vault.names():
        raise EntryNotFound(
            f"the vault {settings.vault_path} holds no credentials for '{plain(connection_id)}';"
            " see: easyalert-agent vault list"
        )
    if not options.yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("there is no terminal to ask at; add --yes to delete without asking")
        if input(f"delete the credentials of '{plain(connection_id)}'? [y/N] ").strip().lower() not in {"y", "yes"}:
            raise ConfigurationError("nothing was deleted")
    vault.delete(connection_id)
    _record(settings, "credential.deleted", connectionId=connection_id)
    _say(options, f"credentials of '{connection_id}' are deleted", deleted=connection_id)
    return EXIT_OK


def _unbind(settings: AgentSettings, options: argparse.Namespace) -> int:
    with Journal(settings.journal_path) as journal:
        bound = journal.unbind(options.id, by=here())
    if bound is None:
        raise EntryNotFound(
            f"the credentials of '{plain(options.id)}' are bound to no address by use; see: easyalert-agent vault list"
        )
    line = f"'{plain(options.id)}' is no longer bound to {plain(bound.address)}; the address of its next use counts"
    _say(options, line, unbound=options.id, address=bound.address)
    return EXIT_OK


def _scan_host(settings: AgentSettings, options: argparse.Namespace) -> int:
    from cli.vault_scan_host import scan_host  # noqa: PLC0415 - its library takes longer than all other commands

    return scan_host(settings, options)


def _rekey(settings: AgentSettings, options: argparse.Namespace) -> int:
    new_api_key = _new_api_key(settings, options)
    if new_api_key == settings.agent_api_key.get_secret_value():
        raise ConfigurationError("that is the key the agent has already; nothing was changed")
    count = Rotation(settings, opened(settings)).rekey(new_api_key, by=here())
    _say(
        options,
        f"{count} entries now open with the new key only",
        *(f"  next: {line}" for line in NEXT_AFTER_REKEY),
        rekeyed=count,
        next=list(NEXT_AFTER_REKEY),
    )
    return EXIT_OK


def _new_api_key(settings: AgentSettings, options: argparse.Namespace) -> str:
    if options.key_file is not None:
        found = read_line(options.key_file)
    elif settings.agent_api_key_new is not None:
        found = settings.agent_api_key_new.get_secret_value().strip()
    else:
        found = ask(
            "new API key (not shown): ",
            again="once more: ",
            otherwise="give the new key with --key-file FILE or AGENT_API_KEY_NEW",
        ).strip()
    if not found or not found.isprintable() or not found.isascii() or " " in found:
        raise ConfigurationError("an API key is one word of visible ASCII characters; nothing was changed")
    return found


def _record(settings: AgentSettings, kind: str, **fields: object) -> None:
    record(settings.journal_path, settings.audit_dir, kind, **fields, by=here())


def _say(options: argparse.Namespace, *lines: str, **report: object) -> None:
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(lines))
