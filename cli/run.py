"""`easyalert-agent run`: check everything, then become supervisord."""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final, NoReturn

from cli.cancel import here
from cli.preflight import Ready, check
from easyalert import __version__
from easyalert.audit import record
from easyalert.cgroups import step_aside
from easyalert.errors import ConfigurationError
from easyalert.hardening import SUPERVISOR_PID_VARIABLE
from easyalert.logs import configure_logging
from easyalert.runtime import harden, refuse_foreign_packages
from easyalert.settings import AgentSettings, load_settings

STOP_MARGIN_S: Final = 20
"""Beyond SHUTDOWN_GRACE_SECONDS, for killing trees and the last report; then supervisord kills."""


def main(_options: argparse.Namespace) -> NoReturn:
    """Never returns: the process goes on as supervisord, whose exit code is 0. Raises EasyAlertError before that."""
    os.umask(0o077)
    settings = load_settings()
    configure_logging("agent", settings.log_level, secrets=settings.secrets())
    refuse_foreign_packages()
    harden()
    ready = check(settings)
    step_aside()
    configuration = find_configuration()
    record(settings.journal_path, settings.audit_dir, "agent.started", version=__version__, pid=os.getpid(), by=here())
    sys.stdout.flush()
    sys.stderr.flush()
    # exec: what the checks have imported is given back, supervisord stays small, and its pid is the lock's
    os.set_inheritable(ready.lock, True)  # noqa: FBT003 - the function takes no keyword
    # -X: where in a line an error was is not kept for any line of any library
    python = [sys.executable, "-I", "-X", "no_debug_ranges"]
    command = [*python, "-m", "cli.supervise", str(configuration), str(ready.lock)]
    os.execve(sys.executable, command, environment(settings, ready))  # noqa: S606 - a program, no shell


def find_configuration() -> Path:
    """`supervisord.conf`: beside the packages in a source tree, under share/ of an installation."""
    places = (
        Path(__file__).resolve().parent.parent / "supervisord.conf",
        Path(sysconfig.get_path("data")) / "share" / "easyalert" / "supervisord.conf",
    )
    for place in places:
        if place.is_file():
            return place
    raise ConfigurationError(
        f"supervisord.conf is missing, looked at {places[0]} and {places[1]}; install the agent anew"
    )


def environment(settings: AgentSettings, ready: Ready) -> dict[str, str]:
    """This environment, and what `supervisord.conf` expands."""
    return {
        **os.environ,
        "EASYALERT_PYTHON": sys.executable,
        "EASYALERT_RUN_DIR": str(settings.run_dir),
        "EASYALERT_REDIS_DIR": str(settings.redis_dir),
        "EASYALERT_REDIS_SERVER": ready.redis_server,
        "EASYALERT_EMBEDDED_REDIS": "true" if settings.embedded_redis else "false",
        "EASYALERT_STOP_SECONDS": str(settings.shutdown_grace_seconds + STOP_MARGIN_S),
        "EASYALERT_SUPERVISOR_LOG": "debug" if settings.log_level.strip().upper() == "DEBUG" else "info",
        # STATE_DIR may be relative to where the agent was started; its programs must not depend on that
        "STATE_DIR": str(settings.state_dir),
        SUPERVISOR_PID_VARIABLE: str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
    }
