"""`easyalert-agent delivery-key`: the key that others seal to for this agent, to be compared; `--rotate` changes it."""

from __future__ import annotations

import argparse
import base64
import json

from easyalert.audit import record
from easyalert.delivery_key import new_delivery_key, public_delivery_key
from easyalert.errors import ConfigurationError
from easyalert.protocol.sealed import fingerprint
from easyalert.sealing import load_private_key
from easyalert.settings import AgentSettings, load_settings


def main(options: argparse.Namespace) -> int:
    """Print the public half and its fingerprint. Raises ConfigurationError."""
    settings = load_settings()
    path = settings.delivery_key_path
    if options.rotate:
        _rotate(settings)
    public = public_delivery_key(path)
    if public is None:
        raise ConfigurationError(f"{path} does not exist or is damaged: the agent makes it when it starts")
    text, shown = base64.b64encode(public).decode(), fingerprint(public)
    if options.json:
        print(json.dumps({"publicKey": text, "publicKeyFingerprint": shown}))
        return 0
    print(f"public key:  {text}\nfingerprint: {shown}")
    if options.rotate:
        print("What was sealed to the former key opens no more, and is answered as an error that says so.")
    return 0


def _rotate(settings: AgentSettings) -> None:
    if not settings.agent_key_path.exists():
        raise ConfigurationError(f"{settings.agent_key_path} does not exist: the agent makes it when it starts")
    secrets = (settings.agent_api_key, settings.agent_api_key_previous)
    agent_key = load_private_key(settings.agent_key_path, [key.get_secret_value() for key in secrets if key])
    if agent_key is None:
        raise ConfigurationError(f"AGENT_API_KEY does not open {settings.agent_key_path}: is it this agent's?")
    key = new_delivery_key(settings.delivery_key_path, agent_key)
    shown = fingerprint(key.public_key().public_bytes_raw())
    record(settings.journal_path, settings.audit_dir, "delivery_key.rotated", fingerprint=shown, by="the command line")
