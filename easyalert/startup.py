"""How each of the agent's programs begins: `settings = begin("poller")` is the first line of its `__main__.py`."""

from __future__ import annotations

import os
import sys

from easyalert.errors import ConfigurationError
from easyalert.hardening import follow_supervisor, harden
from easyalert.logs import configure_logging
from easyalert.runtime import EXIT_CONFIGURATION, EXIT_FAILURE
from easyalert.settings import AgentSettings, load_settings


def begin(program: str) -> AgentSettings:
    """Close the process to prying, tie it to supervisord's life, read the settings, start logging.

    Exits with EXIT_CONFIGURATION and one sentence on stderr when a setting is wrong.
    """
    harden()
    if not follow_supervisor():
        sys.exit(EXIT_FAILURE)
    try:
        settings = load_settings()
    except ConfigurationError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    os.umask(0o077)
    configure_logging(program, settings.log_level, secrets=settings.secrets())
    return settings
