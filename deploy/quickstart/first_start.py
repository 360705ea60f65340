"""What is made once, on the first start: an operator's token, the agent in its pool, and its key."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home, environment_file, read_environment_file
from deploy.quickstart.operator import Operator
from deploy.quickstart.program import command, run_once

POOL: Final = "default"
_TOKEN = re.compile(r"\bea_op_[A-Za-z0-9]+\b", re.ASCII)
_KEY = re.compile(r"\bea_agent_[A-Za-z0-9]+\b", re.ASCII)


@dataclass(frozen=True)
class Identities:
    """Who speaks to the control plane: an operator by token, the agent by key."""

    operator_token: str
    agent_name: str
    agent_key: str
    fresh: bool
    """True when the agent was made just now."""


def identities(home: Home, controlplane_env: Mapping[str, str]) -> Identities:
    """Those kept in the folder; what is missing is made by `easyalert-controlplane` and kept.

    Each is written down at once, so that a start cut off half-way is made good by the next. Raises QuickstartError.
    """
    token = _read(home.operator_token)
    if token is None:
        shown = run_once(
            command("easyalert-controlplane", "token", "create", "--scope", "operator", "--name", "quickstart"),
            controlplane_env,
            "Making the operator's token",
        )
        token = _find(_TOKEN, shown, "token create")
        home.write_secret(home.operator_token, token)
    kept = read_environment_file(home.agent_env)
    if kept.get("AGENT_API_KEY"):
        return Identities(token, kept.get("AGENT_NAME", ""), kept["AGENT_API_KEY"], fresh=False)
    name, key = _create_agent(home, controlplane_env)
    home.write_secret(home.agent_env, environment_file({"AGENT_NAME": name, "AGENT_API_KEY": key}))
    return Identities(token, name, key, fresh=True)


def agent_id(operator: Operator, name: str) -> str:
    """The agent's id. Raises QuickstartError when it was deleted."""
    for agent in operator.agents():
        if agent["name"] == name:
            return str(agent["id"])
    raise QuickstartError(
        f"The control plane no longer knows the agent '{name}' of this folder. To begin anew: remove the line "
        "AGENT_API_KEY from agent.env there, and start again."
    )


def _create_agent(home: Home, environment: Mapping[str, str]) -> tuple[str, str]:
    """A new agent named after this machine; after a start that was cut off, with a number, for the name is taken."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node()) or "agent"
    marker = home.path / "agents-made"
    made = int(_read(marker) or "0") + 1
    name = host if made == 1 else f"{host}-{made}"
    home.write_secret(marker, str(made))
    shown = run_once(
        command("easyalert-controlplane", "agents", "create", "--name", name, "--pool", POOL),
        environment,
        f"Making the agent '{name}'",
    )
    return name, _find(_KEY, shown, "agents create")


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _find(pattern: re.Pattern[str], text: str, what: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise QuickstartError(f"'easyalert-controlplane {what}' did not show what it made.")
    return found.group()
