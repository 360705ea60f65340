"""How each of the agent's programs begins: `settings = begin("poller")` is the first line of its `__main__.py`."""

from __future__ import annotations

import contextlib
import os
import sys

from easyalert.errors import ConfigurationError
from easyalert.hardening import follow_supervisor, harden
from easyalert.logs import configure_logging, log_uncaught
from easyalert.redact import Redactor
from easyalert.runtime import EXIT_CONFIGURATION, EXIT_FAILURE
from easyalert.settings import AgentSettings, load_settings

_prepared: AgentSettings | None = None


def prepare() -> None:
    """In the process that all programs are forked from, once: read the settings and set up logging.

    Each costs a program 1 to 2 MB, and a program that is started again is to have the settings of the others.
    Settings that are wrong by now are left to `begin`, which says so.
    """
    global _prepared  # noqa: PLW0603 - inherited by fork, the one thing that is handed over so
    with contextlib.suppress(ConfigurationError):
        _prepared = load_settings()
        configure_logging("agent", _prepared.log_level, secrets=_prepared.secrets())
        Redactor(_prepared.secrets()).text("worked out on first use, and remembered")


def begin(program: str) -> AgentSettings:
    """Close the process to prying, tie it to supervisord's life, read the settings, start logging.

    Exits with EXIT_CONFIGURATION and one sentence on stderr when a setting is wrong.
    """
    harden()
    if not follow_supervisor():
        sys.exit(EXIT_FAILURE)
    try:
        settings = _prepared or load_settings()
    except ConfigurationError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    os.umask(0o077)
    configure_logging(program, settings.log_level, secrets=settings.secrets())
    log_uncaught()
    return settings
