"""`easyalert-agent policy check | show`: why a job may run or not, and which policy is in force."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.job_file import read_job
from cli.looking import settings_to_look
from cli.terminal import coloured, plain
from easyalert.errors import ConfigurationError, JournalError, PolicyUnusable
from easyalert.journal import Journal
from easyalert.policy import Asked, Decision, Owned, Policy, Rule, asked_of, decide, read_policy
from easyalert.policy.signatures import read_keys
from easyalert.protocol.keytext import KEY_BYTES, exact_base64
from easyalert.protocol.signing import key_id
from easyalert.runtime import EXIT_OK, EXIT_REFUSED
from easyalert.settings import AgentSettings


def main(options: argparse.Namespace) -> int:
    """Run the chosen subcommand. Raises PolicyUnusable, JobUnreadable, ConfigurationError, VaultError."""
    return _check(options) if options.policy_command == "check" else _show(options)


# ---- check ----------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    file = Path(options.file)
    try:
        policy = read_policy(file.read_bytes(), file)
    except OSError as error:
        raise PolicyUnusable(f"{file} cannot be read ({error.strerror})") from None
    job = read_job(options.job)
    connection = job.get("connectionId")
    entry, notes = _entry(policy, connection)
    notes += _not_to_be_relied_on(file)
    asked = asked_of(job["actionType"], connection, job["params"], entry)
    at = _moment(options.at)
    decision = decide(policy, asked, at)
    code = EXIT_OK if decision.allowed else EXIT_REFUSED
    if options.json:
        print(json.dumps({**as_json(decision, asked, at), "notes": notes, "exitCode": code}, indent=2))
    else:
        print("\n".join([*view(decision, asked, at), *(f"note: {note}" for note in notes)]))
    return code


def _entry(policy: Policy, connection: str | None) -> tuple[dict[str, Any] | None, list[str]]:
    """The vault's entry, when the policy needs its address and the vault can be opened here; else a note."""
    if not policy.looks_at_targets or connection is None:
        return None, []
    settings = settings_to_look()
    if not settings.agent_api_key.get_secret_value():
        return None, ["the vault was not opened (AGENT_API_KEY is not set here): addresses in it are not known"]
    from easyalert.errors import EntryNotFound, InvalidConnectionId  # noqa: PLC0415 - only with a key at hand
    from vault import Vault, VaultKey  # noqa: PLC0415 - as above

    try:
        return Vault(settings.vault_path, VaultKey(settings.agent_api_key.get_secret_value())).get(connection), []
    except (EntryNotFound, InvalidConnectionId):
        return None, [f"the vault has no entry for connection '{plain(connection)}'"]


def _not_to_be_relied_on(file: Path) -> list[str]:
    """That the agent would refuse everything with this file, where its rules say otherwise."""
    try:
        Owned(file, read_policy, required=True, account=_account(settings_to_look())).current()
    except PolicyUnusable as error:
        return [f"with the file as it lies here, an agent refuses every job: {error}"]
    except ConfigurationError:
        pass  # whose agent it would be is not known here
    return []


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise ConfigurationError(f"--at {text!r} is no time; write 2026-01-31T03:00+01:00") from None


def as_json(decision: Decision, asked: Asked, at: datetime) -> dict[str, Any]:
    """The decision for programs."""
    return {
        "allowed": decision.allowed,
        "rule": None if decision.rule is None else decision.rule.name,
        "sentence": decision.sentence,
        "dryRun": decision.dry_run,
        "at": at.isoformat(timespec="seconds"),
        "asked": {
            "action": asked.action,
            "connection": asked.connection,
            "targets": [str(place) for place in asked.places],
            "targetsUnknown": asked.places_unknown,
            "interpreter": asked.interpreter,
            "sha256": asked.sha256,
        },
        "rules": [
            {
                "effect": verdict.rule.effect,
                "name": verdict.rule.name,
                "fits": verdict.fits,
                "conditions": [
                    {"condition": finding.condition, "fits": finding.fits, "why": finding.why}
                    for finding in verdict.findings
                ],
            }
            for verdict in decision.verdicts
        ],
    }


def view(decision: Decision, asked: Asked, at: datetime) -> list[str]:
    """The decision for people."""
    named = f"connection {plain(asked.connection)}" if asked.connection else "no connection"
    lines = [f"job   {plain(asked.action)}, {named}"]
    if asked.interpreter or asked.sha256:
        lines.append(f"      interpreter {plain(asked.interpreter)}, sha256 {asked.sha256}")
    lines.append(f"      {plain(_goes_to(asked))}")
    lines.append(f"time  {at.isoformat(timespec='minutes')}")
    for verdict in decision.verdicts:
        lines.append(f"{verdict.rule.title}: {'fits' if verdict.fits else 'does not fit'}")
        for finding in verdict.findings:
            word = coloured("yes", "good") if finding.fits else coloured("no ", "bad")
            lines.append(f"  {word} {finding.condition}: {plain(finding.why)}")
    answer = coloured("may run", "good") if decision.allowed else coloured("is refused", "bad")
    lines.append(f"The job {answer}: {plain(decision.sentence)}.")
    if decision.dry_run:
        lines.append("But dry_run = true: the agent says so and runs nothing.")
    return lines


def _goes_to(asked: Asked) -> str:
    if asked.places_unknown is not None:
        return f"where it goes cannot be told: {asked.places_unknown}"
    return f"goes to {', '.join(map(str, asked.places))}" if asked.places else "names no address"


# ---- show -----------------------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace) -> int:
    settings = settings_to_look()
    account, note = _account(settings), _note(settings)
    # a shell rarely has the agent's settings: the workers have said which file they look at
    elsewhere = not settings.policy_named and note.get("file") not in {None, str(settings.policy_file)}
    path = Path(note["file"]) if elsewhere else settings.policy_file
    owned = Owned(path, read_policy, required=settings.policy_named or elsewhere, account=account)
    policy = owned.current()
    found = {"file": str(path), "inForce": policy is not None, "signatures": _signatures(settings)}
    if policy is not None:
        found |= {
            "digest": owned.digest,
            "dryRun": policy.dry_run,
            "deny": [_rule(rule) for rule in policy.deny],
            "allow": [_rule(rule) for rule in policy.allow],
        }
    notes = _remarks(path, policy)
    if note.get("signatures") not in {None, settings.job_signatures}:
        notes.append(f"the agent was started with JOB_SIGNATURES={note['signatures']}, which is not set so here")
    if options.json:
        print(json.dumps({**found, "notes": notes}, indent=2))
        return EXIT_OK
    print("\n".join([*_shown(found), *(f"note: {note}" for note in notes)]))
    return EXIT_OK


def _note(settings: AgentSettings) -> dict[str, Any]:
    """What the workers have said about their policy; empty when they have not."""
    if not settings.journal_path.exists():  # opening it would make it
        return {}
    try:
        with Journal(settings.journal_path) as journal:
            note = journal.note("policy")
    except JournalError:
        return {}
    return note if isinstance(note, dict) else {}


def _account(settings: AgentSettings) -> int:
    """Whose agent it is: who looks may be root."""
    try:
        return settings.state_dir.stat().st_uid
    except OSError:
        return os.geteuid()


def _signatures(settings: AgentSettings) -> dict[str, Any]:
    """Raises PolicyUnusable when the list of keys is not to be relied on."""
    raw = [exact_base64(text, KEY_BYTES) for text in settings.signature_keys]
    names = {key_id(key) for key in raw if key is not None}
    listed = settings.job_signature_keys_file
    if listed is not None:
        names |= set(Owned(listed, read_keys, required=True, account=_account(settings)).current() or ())
    return {"mode": settings.job_signatures, "keys": sorted(names), "audience": settings.signature_audience}


def _rule(rule: Rule) -> dict[str, Any]:
    """What the file says, as it is understood; conditions that do not ask are left out."""
    return {
        name: value
        for name, value in {
            "name": rule.name,
            "reason": rule.reason,
            "actions": list(rule.actions),
            "connections": None if rule.connections is None else list(rule.connections),
            "targets": None if rule.targets is None else [pattern.text for pattern in rule.targets],
            "interpreters": None if rule.interpreters is None else list(rule.interpreters),
            "sha256": None if rule.sha256 is None else sorted(rule.sha256),
            "hours": None if rule.hours is None else rule.hours.text(),
        }.items()
        if value is not None
    }


def _remarks(path: Path, policy: Policy | None) -> list[str]:
    found = []
    if policy is not None and path.stat().st_uid != 0:
        found.append(f"the agent's own account can change {path}, and so can scripts it runs: give it to root")
    if policy is not None and not policy.allow:
        found.append("there is no [[allow]] rule: every job is refused")
    return found


def _shown(found: dict[str, Any]) -> list[str]:
    signatures = found["signatures"]
    words = {"off": "not looked at", "warn": "missed in the log", "require": "required"}[signatures["mode"]]
    keys = f"; trusted keys: {', '.join(signatures['keys']) or 'none'}" if signatures["mode"] != "off" else ""
    if not found["inForce"]:
        lines = [f"no policy: {found['file']} does not exist, everything this agent can do is allowed"]
    else:
        lines = [f"{found['file']} is in force" + (": dry run, nothing is run" if found["dryRun"] else "")]
        for effect in ("deny", "allow"):
            for rule in found[effect]:
                lines.append(f"[[{effect}]] '{rule['name']}'")
                lines += [
                    f"  {key}: {', '.join(value) if isinstance(value, list) else value}"
                    for key, value in rule.items()
                    if key != "name"
                ]
    return [*lines, f"signatures: {words}{keys}"]
