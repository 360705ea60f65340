"""What is made once, on the first start: an operator's token, the agent in its pool, and its key."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.program import command, run_once

POOL: Final = "default"


@dataclass(frozen=True)
class AgentIdentity:
    """The agent as the control plane made it, with its key."""

    id: str
    name: str
    key: str


def operator_token(home: Home, environment: Mapping[str, str]) -> str:
    """The token kept in the folder, or a new one. Raises QuickstartError."""
    kept = _read(home.operator_token)
    if kept is not None:
        return kept
    made = _controlplane(
        environment, "Making the operator's token", "token", "create", "--scope", "operator", "--name", "quickstart"
    )
    home.write_secret(home.operator_token, str(made["token"]))
    return str(made["token"])


def agent_identity(home: Home, environment: Mapping[str, str]) -> tuple[AgentIdentity, bool]:
    """The agent kept in the folder, or a new one, and whether it is new. Raises QuickstartError.

    A new one is named after this machine; after a start that was cut off between making and keeping it that name is
    taken, so the next gets a number.
    """
    kept = _read(home.agent_identity)
    if kept is not None:
        try:
            return AgentIdentity(**json.loads(kept)), False
        except (ValueError, TypeError):
            raise QuickstartError(f"{home.agent_identity} is damaged. Remove it to have a new agent made.") from None
    number = int(_read(home.agents_made) or "0") + 1
    home.write_secret(home.agents_made, str(number))
    host = re.sub(r"[^A-Za-z0-9._-]", "-", platform.node()) or "agent"
    name = host if number == 1 else f"{host}-{number}"
    made = _controlplane(environment, f"Making the agent '{name}'", "agents", "create", name, "--pool", POOL)
    agent = AgentIdentity(id=str(made["id"]), name=name, key=str(made["apiKey"]))
    home.write_secret(home.agent_identity, json.dumps(asdict(agent)))
    return agent, True


def _controlplane(environment: Mapping[str, str], what: str, *arguments: str) -> dict[str, Any]:
    shown = run_once(command("easyalert-controlplane", *arguments, "--json"), environment, what)
    try:
        return dict(json.loads(shown))
    except (ValueError, TypeError):
        raise QuickstartError(f"{what} failed: easyalert-controlplane did not answer with JSON.") from None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None
