"""Arguments of `scripts/up` and `scripts/down`."""

from __future__ import annotations

import argparse
import os
import sys

from deploy.quickstart.down import down
from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.up import up

_ABOUT = """\
Everything is kept in EASYALERT_HOME (default ~/.easyalert-up): a second start goes on where the first one stopped.
Exit codes: 0 stopped as asked, or running with --detach; 1 a step failed; 2 something has to be changed first
(usage, a port in use, no rights, no room); 3 a package is missing and this account may not install it.
"""


def main(argv: list[str]) -> int:
    """Run `up` or `down`; the exit code. No traceback reaches a user."""
    arguments = _parser().parse_args(argv)
    home = Home.from_environment(os.environ)
    try:
        if arguments.command == "down":
            return down(home)
        return up(home, arguments.port, detach=arguments.detach)
    except QuickstartError as error:
        if str(error):
            sys.stderr.write(f"{error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts", add_help=False)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser(
        "up",
        prog="scripts/up",
        description="Start a control plane and one agent on this machine, send sample jobs, show live status.",
        epilog=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    start.add_argument(
        "--port", type=_port, help="port of the control plane on 127.0.0.1 (default: 8080 or the next free one)"
    )
    start.add_argument("--detach", action="store_true", help="leave it running and return; 'scripts/down' stops it")
    commands.add_parser(
        "down",
        prog="scripts/down",
        description="Stop what scripts/up started: the agent first (its jobs get 30 s), then the control plane.",
    )
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: use a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
