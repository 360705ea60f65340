"""`easyalert-agent`: parse, dispatch, turn errors into sentences. Each command lives in its own module."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from cli import trust_arguments
from easyalert.hardening import harden

EXIT_CODES: Final = """exit codes:
  0  ok (status: the agent is healthy)
  1  failure; the message says which
  2  a setting, a file or a permission has to be changed
  3  status: no agent runs on this state directory
  4  status, vault doctor, vault export, audit verify: something needs attention
  5  policy check: the job would be refused

Settings come from the environment and a `.env` file in the working directory:
AGENT_API_URL, AGENT_API_KEY, STATE_DIR, …
"""


JOBS_USAGE: Final = """easyalert-agent jobs [ID] [--rejected] [--limit N] [--json]
       easyalert-agent jobs cancel ID
       easyalert-agent jobs tail ID"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit code. `arguments`: instead of this process's own."""
    if arguments is None:
        harden()  # commands read keys and credentials
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.version:
        from easyalert import __version__  # noqa: PLC0415 - reads package metadata, which --help does not need

        print(f"easyalert-agent {__version__}")
        return 0
    if options.command is None:
        parser.print_help()
        return 2
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    # imported on use: `--help` answers at once, and `status` does not pay for `run`
    command = import_module(f"cli.{options.command.replace('-', '_')}")
    from easyalert.errors import ConfigurationError, EasyAlertError  # noqa: PLC0415 - as above

    try:
        return int(command.main(options))
    except EasyAlertError as error:
        print(f"easyalert-agent: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    except PermissionError as error:
        print(f"easyalert-agent: {error.filename} is not yours to read; ask as the agent's account", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `easyalert-agent jobs | head`
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="easyalert-agent",
        description="The EasyAlert automation agent: runs jobs of its control plane on this machine.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser(
        "run",
        help="run the agent in the foreground until Ctrl-C or SIGTERM, which drain it",
        description="Checks settings, folders, ports and keys, then runs supervisord with the agent's programs in the"
        " foreground. Ctrl-C and SIGTERM let running jobs finish (SHUTDOWN_GRACE_SECONDS), report, then stop all.",
    )
    status = commands.add_parser("status", help="show how the agent on this state directory is")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    jobs = commands.add_parser(
        "jobs",
        help="list the latest jobs in the journal; cancel ID, tail ID: end a job, follow its output",
        usage=JOBS_USAGE,
    )
    jobs.add_argument("job", nargs="?", metavar="ID", help="only this job, as the control plane or the queue calls it")
    jobs.add_argument(
        "of",
        nargs="?",
        metavar="cancel ID, tail ID",
        help="end the job: at once, or its processes if it runs; follow what it prints until it ends, or Ctrl-C",
    )
    jobs.add_argument("--rejected", action="store_true", help="only results the control plane refused for good")
    jobs.add_argument("--limit", type=int, default=50, metavar="N", help="how many, newest first (default: 50)")
    jobs.add_argument("--json", action="store_true", help="print one JSON array")
    pause = commands.add_parser(
        "pause",
        help="take no new jobs and start none, until resumed or a given time; running jobs go on",
        description="Nothing new starts on this agent; what runs goes on, results are reported. The control plane is"
        " told, and gives the jobs to others. Survives restarts.",
    )
    pause.add_argument("--reason", metavar="TEXT", help="why; shown to operators")
    end = pause.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="TIME", help="end by itself: 18:00 (local time) or 2026-01-31T18:00:00+01:00")
    end.add_argument("--for", dest="span", metavar="SPAN", help="end by itself after 90s, 30m, 2h or 1d")
    commands.add_parser("resume", help="end a pause made with `pause`")
    _vault_parser(commands.add_parser("vault", help="look at the vault and change it; values are never shown"))
    trust_arguments.add(commands)
    _audit_parser(commands)
    actions = commands.add_parser("actions", help="list your own actions (CUSTOM_ACTIONS_DIR), and why one is not used")
    actions.add_argument("--json", action="store_true", help="print one JSON object")
    dashboard = commands.add_parser("dashboard", help="show the queue in a browser (rq-dashboard, read-only)")
    dashboard.add_argument("--port", type=int, default=9181, help="port on 127.0.0.1 (default: 9181)")
    return parser


def _audit_parser(commands: Any) -> None:
    audit = commands.add_parser(
        "audit",
        help="show the record of what ran here for whom; audit verify: is it what was written?",
        usage="easyalert-agent audit [--since TIME] [--limit N] [--json]\n"
        "       easyalert-agent audit verify [--anchor SEQ:HASH] [--witness FILE|URL [--token-file FILE]] [--json]",
    )
    audit.add_argument("verify", nargs="?", choices=["verify"], help="check every line; names the first broken one")
    audit.add_argument("--since", metavar="TIME", help="only from then on: 90s, 30m, 2h, 1d ago, or an ISO time")
    audit.add_argument("--limit", type=int, metavar="N", help="only the last N")
    audit.add_argument(
        "--anchor", metavar="SEQ:HASH", help="verify: an entry witnessed elsewhere, as by the control plane"
    )
    audit.add_argument(
        "--witness",
        metavar="FILE|URL",
        help="verify: what the control plane has seen, GET /api/v1/agents/ID/audit-heads; - for standard input",
    )
    audit.add_argument(
        "--token-file", metavar="FILE", help="verify: an operator's token, for a --witness that is a URL"
    )
    audit.add_argument("--json", action="store_true", help="print one JSON value")


def _vault_parser(vault: argparse.ArgumentParser) -> None:
    commands = vault.add_subparsers(dest="vault_command", metavar="WHAT", required=True)

    def command(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip())
        made.add_argument("--json", action="store_true", help="print JSON; never a value")
        return made

    command("list", "names of all credentials")
    command("doctor", "check every entry, say what to do")
    one = command("set", "store credentials", "One JSON object from standard input or --file; at a terminal it asks.")
    one.add_argument("id", metavar="ID", help="the connection's id")
    one.add_argument("--file", type=Path, metavar="FILE", help="read the JSON object from there")
    one = command("delete", "delete credentials")
    one.add_argument("id", metavar="ID", help="the connection's id")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = command(
        "unbind",
        "forget to which address credentials have been sent",
        "For entries that name no address of their own: the address of their next use counts then.",
    )
    one.add_argument("id", metavar="ID", help="the connection's id")
    one = command(
        "scan-host",
        "fetch an SSH server's host keys, show their fingerprints, and pin them",
        "Compare the fingerprints with what the host itself says. Keys that are pinned and change are refused.",
    )
    one.add_argument("target", metavar="CONNECTION|HOST[:PORT]", help="a connection of the vault, or a host")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one.add_argument("--replace", action="store_true", help="replace other keys that are pinned for the host")
    one.add_argument("--forget", action="store_true", help="forget the host's keys instead")
    one.add_argument(
        "--keys", metavar="FILE", help="take the keys from there, as ssh-keyscan writes them; - for standard input"
    )
    one = command(
        "rekey",
        "encrypt the vault anew under the agent's next API key",
        "The key comes from --key-file, AGENT_API_KEY_NEW or a prompt. No job starts until the agent is restarted.",
    )
    one.add_argument("--key-file", type=Path, metavar="FILE", help="file whose first line is the new key")
    one = command("export", "write an encrypted backup", "It opens with a passphrase, or with the private key to --to.")
    one.add_argument("file", type=Path, metavar="FILE", help="a new file")
    lock = one.add_mutually_exclusive_group()
    lock.add_argument(
        "--to", metavar="KEY", help="X25519 public key: Base64 (publicKey of an agent_key.json) or a PEM file"
    )
    lock.add_argument("--passphrase-file", type=Path, metavar="FILE", help="file whose first line is the passphrase")
    one = command("import", "bring back the entries of a backup", "Entries that are in the vault are kept.")
    one.add_argument("file", type=Path, metavar="FILE", help="a backup made with `vault export`")
    one.add_argument("--replace", action="store_true", help="replace entries that are in the vault")
    lock = one.add_mutually_exclusive_group()
    lock.add_argument("--identity", type=Path, metavar="FILE", help="private key in PEM; default: this agent's own")
    lock.add_argument("--passphrase-file", type=Path, metavar="FILE", help="file whose first line is the passphrase")


if __name__ == "__main__":
    sys.exit(main())
