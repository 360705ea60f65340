"""How policy and signatures stand, for `easyalert-agent status`: what the running workers have said, else the files."""

from __future__ import annotations

from typing import Any

from easyalert.errors import PolicyUnusable
from easyalert.policy import Owned, read_policy
from easyalert.policy.rules import DRY_RUN, OK, REFUSES
from easyalert.settings import AgentSettings

Part = dict[str, Any]


def policy_state(settings: AgentSettings, note: Part, *, running: bool) -> Part:
    """`{"state": "ok" | words, "error": sentence | null, "file", "inForce", "rules", "dryRun", "signatures"}`."""
    if running and note:
        return {
            "state": note.get("state", "ok"),
            "error": note.get("sentence"),
            "file": note.get("file"),
            "inForce": bool(note.get("inForce")),
            "rules": note.get("rules", 0),
            "dryRun": bool(note.get("dryRun")),
            "signatures": note.get("signatures", "off"),
        }
    found: Part = {"state": OK, "error": None, "file": str(settings.policy_file), "inForce": False}
    found |= {"rules": 0, "dryRun": False, "signatures": settings.job_signatures}
    try:
        account = settings.state_dir.stat().st_uid if settings.state_dir.exists() else None
        policy = Owned(settings.policy_file, read_policy, required=settings.policy_named, account=account).current()
    except PolicyUnusable as error:
        return {**found, "state": REFUSES, "error": str(error), "inForce": True}
    if policy is None:
        return found
    rules = len(policy.deny) + len(policy.allow)
    state = DRY_RUN if policy.dry_run else OK
    return {**found, "state": state, "inForce": True, "rules": rules, "dryRun": policy.dry_run}


def line(part: Part) -> str:
    """The line for people."""
    if part["state"] != OK:
        text = str(part["state"])
    elif part["inForce"]:
        text = f"{part['file']}, {part['rules']} rules"
    else:
        text = "none: everything is allowed"
    return text if part["signatures"] == "off" else f"{text}; signatures: {part['signatures']}"
