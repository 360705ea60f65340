"""`easyalert-controlplane`: arguments, settings, exit codes. The commands are in `controlplane.cli`."""

from __future__ import annotations

import argparse
import logging
import sys
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy.exc import DatabaseError

from controlplane.cli import exits
from controlplane.settings import ControlPlaneSettings
from easyalert.errors import EasyAlertError
from easyalert.hardening import harden
from easyalert.logs import configure_logging, log_uncaught

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    top = argparse.ArgumentParser(
        prog="easyalert-controlplane",
        description="The EasyAlert control plane: hands jobs to agents, takes their results, answers operators.",
        epilog=exits.EPILOG + ". Settings come from EASYALERT_CP_… variables; options win over them.",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--data-dir", type=Path, help="folder of the database (default ~/.easyalert-controlplane)")
    shared.add_argument("--log-level", choices=LOG_LEVELS, type=str.upper, help="least severity logged (default INFO)")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", parents=[shared], help="run the server", epilog=exits.EPILOG)
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1: put a TLS proxy in front)")
    serve.add_argument("--port", type=int, help="port to listen on (default 8080; 0 takes a free one and prints it)")

    token = commands.add_parser("token", help="operators' tokens").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    create = token.add_parser("create", parents=[shared], help="make a token; it is printed once", epilog=exits.EPILOG)
    create.add_argument("--scope", required=True, choices=("viewer", "operator", "admin"), help="what it may do")
    create.add_argument("--name", default="command line", help="what people see in lists")
    create.add_argument("--json", action="store_true", help="print one JSON object")

    agents = commands.add_parser("agents", help="agents").add_subparsers(dest="action", required=True, metavar="ACTION")
    create = agents.add_parser(
        "create", parents=[shared], help="make an agent; its key is printed once", epilog=exits.EPILOG
    )
    create.add_argument("name", metavar="NAME", help="its name, unique")
    create.add_argument("--pool", help="its pool (default: default)")
    create.add_argument(
        "--key-file",
        type=Path,
        help="write the key to this file (0600) and do not print it; nothing is made when the file is there already",
    )
    create.add_argument("--json", action="store_true", help="print one JSON object")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code. `argv`: instead of this process's own arguments."""
    if argv is None:
        harden()  # credentials on their way to an agent are in its memory, operators' tokens and keys too
    options = parser().parse_args(argv)
    given = {name: getattr(options, name, None) for name in ("data_dir", "log_level", "host", "port")}
    try:
        settings = ControlPlaneSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        found = error.errors()[0]
        return _fail(f"setting {str(found['loc'][0]).upper()}: {found['msg'].lower()}", exits.USAGE)
    serving = options.command == "serve"
    configure_logging("controlplane", settings.log_level if serving or options.log_level else "WARNING")
    if argv is None:
        log_uncaught()
    for chatty in ("alembic", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        return _run(options, settings)
    except EasyAlertError as error:
        return _fail(str(error), getattr(error, "exit_code", exits.STORAGE if error.retryable else exits.FAILURE))
    except DatabaseError as error:
        sentence = (
            f"the database {settings.url} cannot be used ({error.orig}): restore it from a backup, or move it away"
        )
        return _fail(sentence, exits.STORAGE)
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror}", exits.FAILURE)
    except KeyboardInterrupt:
        return exits.OK


def version() -> str:
    """The installed version."""
    try:
        return metadata.version("easyalert-agents")
    except metadata.PackageNotFoundError:
        return "0"


def _run(options: argparse.Namespace, settings: ControlPlaneSettings) -> int:
    # Each command's imports are its own: --help need not load a web server.
    if options.command == "serve":
        from controlplane.cli.serve import serve  # noqa: PLC0415 - see above

        return serve(settings, version())
    from controlplane.cli import manage  # noqa: PLC0415 - see above

    if options.command == "token":
        return manage.create_token(settings, scope=options.scope, name=options.name, as_json=options.json)
    return manage.create_agent(
        settings, name=options.name, pool=options.pool, as_json=options.json, key_file=options.key_file
    )


def _fail(sentence: str, code: int) -> int:
    print(f"easyalert-controlplane: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
