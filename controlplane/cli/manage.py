"""`token create` and `agents create`: straight to the database, also beside a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from controlplane.cli import exits
from controlplane.cli.store import open_database
from controlplane.clock import SystemClock
from controlplane.services import agents, keys, tokens
from controlplane.settings import ControlPlaneSettings
from easyalert.files import write_atomically


def create_token(settings: ControlPlaneSettings, *, scope: str, name: str, as_json: bool) -> int:
    """Make an operator's token and print it, once."""
    with open_database(settings) as database, database.write() as session:
        row, text = tokens.create_token(session, SystemClock().now(), name=name, scope=tokens.Scope.named(scope))
        told = {"id": row.id, "name": row.name, "scope": row.scope, "token": text}
    _tell(told, as_json, f"Token {told['id']} ({scope}). It is shown only now:\n{text}")
    return exits.OK


def create_agent(
    settings: ControlPlaneSettings, *, name: str, pool: str | None, as_json: bool, key_file: Path | None = None
) -> int:
    """Make an agent and print its key, once; or write it to `key_file`, whose existence means it was made before.

    Raises OSError when the file cannot be written; then there is no agent either.
    """
    if key_file is not None and key_file.exists():
        print(f"{key_file} is there already: nothing was made")
        return exits.OK
    key = keys.new_agent_key()
    hashed = keys.hash_key(key)
    with open_database(settings) as database, database.write() as session:
        agent = agents.create(session, SystemClock().now(), name=name, key=key, key_hash=hashed, pool_id=pool)
        told = {"id": agent.id, "name": agent.name, "poolId": agent.pool_id}
        if key_file is not None:  # inside the transaction: an agent without its key would be of no use
            write_atomically(key_file, key.encode())
    text = f"Agent {told['name']} ({told['id']}) in pool {told['poolId']}. Its AGENT_API_KEY is "
    if key_file is not None:
        _tell({**told, "keyFile": str(key_file)}, as_json, f"{text}in {key_file}.")
    else:
        _tell({**told, "apiKey": key}, as_json, f"{text}shown only now:\n{key}")
    return exits.OK


def _tell(told: dict[str, Any], as_json: bool, text: str) -> None:  # noqa: FBT001 - private
    print(json.dumps(told) if as_json else text)
