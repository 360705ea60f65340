"""`easyalert-agent actions`: the owner's own actions, and what is wrong with those not used."""

from __future__ import annotations

import argparse
import json

from cli.looking import settings_to_look
from cli.terminal import plain
from easyalert.custom_actions import KIND, CustomAction, custom_actions
from easyalert.runtime import EXIT_DEGRADED, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Raises ConfigurationError, AgentFault."""
    folder = settings_to_look().custom_actions_dir
    usable, problems = custom_actions(folder)
    if options.json:
        print(
            json.dumps(
                {
                    "folder": None if folder is None else str(folder),
                    "actions": [found.as_json() for found in usable],
                    "problems": problems,
                },
                indent=2,
            )
        )
    elif folder is None:
        print("no actions of your own: CUSTOM_ACTIONS_DIR is not set")
    else:
        lines = [_line(found) for found in usable] + [plain(f"{KIND}.{name}: {why}") for name, why in problems.items()]
        print("\n".join(lines) or f"no actions in {folder}: put executables there, see docs/executors/custom.md")
    return EXIT_DEGRADED if problems else EXIT_OK


def _line(found: CustomAction) -> str:
    manifest = found.manifest
    names = [f"{name}{'' if one.required else '?'}" for name, one in (manifest.parameters or {}).items()]
    facts = [
        f"parameters: {', '.join(names) or 'none'}" if manifest.parameters is not None else "any parameters",
        *(["may repeat"] if manifest.idempotent else []),
        *(["gets the credential"] if manifest.needs_credential else []),
        *([] if manifest.isolated else ["not isolated"]),
    ]
    return plain(f"{KIND}.{found.name}  {manifest.description or '-'}  ({'; '.join(facts)})")
