"""Settings for commands that only look: they work without the URL and the key, for whoever may read the files."""

from __future__ import annotations

from typing import Final

from easyalert.errors import ConfigurationError
from easyalert.settings import AgentSettings, load_settings

UNSET_URL: Final = "http://not-set.invalid"


def settings_to_look() -> AgentSettings:
    """The settings; URL and key are stand-ins (UNSET_URL, empty) when they are not set. Raises ConfigurationError."""
    try:
        return load_settings()
    except ConfigurationError:
        # an operator's shell rarely has the agent's secrets; everything but the vault can be said without them
        return load_settings(agent_api_url=UNSET_URL, agent_api_key="")
