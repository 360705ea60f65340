"""How each of the agent's programs begins: `settings = begin("poller")` is the first line of its `__main__.py`."""

from __future__ import annotations

import os
import signal
import sys

from easyalert.errors import ConfigurationError
from easyalert.logs import configure_logging
from easyalert.runtime import EXIT_CONFIGURATION, die_with_parent, harden
from easyalert.settings import AgentSettings, load_settings


def begin(program: str) -> AgentSettings:
    """Close the process to prying, tie it to supervisord's life, read the settings, start logging.

    Exits with EXIT_CONFIGURATION and one sentence on stderr when a setting is wrong.
    """
    harden()
    parent = os.getppid()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it died before the request to be told
        sys.exit(EXIT_CONFIGURATION)
    try:
        settings = load_settings()
    except ConfigurationError as error:
        sys.stderr.write(f"{program}: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    os.umask(0o077)
    configure_logging(program, settings.log_level, secrets=settings.secrets())
    return settings
