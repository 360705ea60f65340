"""`easyalert-agent status`: for people a compact table, for programs one JSON object, for scripts the exit code."""

from __future__ import annotations

import argparse
import json
from typing import Any

from cli.looking import settings_to_look
from cli.policy_state import line as policy_line
from cli.state import Part, collect
from cli.terminal import coloured, duration, plain, table
from easyalert.runtime import EXIT_DEGRADED, EXIT_NOT_RUNNING, EXIT_OK


def main(options: argparse.Namespace) -> int:
    """Show the state; EXIT_OK, EXIT_NOT_RUNNING or EXIT_DEGRADED."""
    state = collect(settings_to_look())
    if options.json:
        print(json.dumps({**state, "exitCode": exit_code(state)}, indent=2))
    else:
        print("\n".join(view(state)))
    return exit_code(state)


def exit_code(state: Part) -> int:
    """What the state means for a script."""
    if not state["running"]:
        return EXIT_NOT_RUNNING
    return EXIT_DEGRADED if state["problems"] else EXIT_OK


def view(state: Part) -> list[str]:
    """The lines for people."""
    lines = [
        f"{coloured('EasyAlert agent ' + plain(state['agentName']), 'bold')} {state['version']}: {_verdict(state)}"
    ]
    lines += ["  " + line for line in table(_rows(state))]
    for item in state["problems"]:
        lines += [coloured(f"! {plain(item['sentence'])}", "bad"), f"  next: {plain(item['next'])}"]
    for item in state["hints"]:
        lines += [coloured(f"- {plain(item['sentence'])}", "warn"), f"  next: {plain(item['next'])}"]
    if not state["running"]:
        lines += ["  next: easyalert-agent run"]
    return lines


def _verdict(state: Part) -> str:
    if not state["running"]:
        return coloured("not running", "bad")
    if state["pause"] is not None and not state["problems"]:
        return coloured(plain(state["pause"]["kind"]), "warn")
    return coloured("needs attention", "bad") if state["problems"] else coloured("healthy", "good")


def _rows(state: Part) -> list[tuple[str, str]]:
    rows = [
        ("state directory", plain(state["stateDir"])),
        ("registered as", _registered(state)),
        ("control plane", _control_plane(state["controlPlane"])),
        ("jobs", _jobs(state["jobs"])),
        ("redis", f"{state['redis']['kind']}, {state['redis']['state']}"),
        ("vault", _vault(state["vault"])),
        ("policy", plain(policy_line(state["policy"]))),
        ("scripts", plain(state["isolation"]["sentence"] or "-")),
    ]
    programs = [
        (
            program["name"],
            program["state"].lower(),
            f"pid {program['pid']}" if program["pid"] else "",
            f"for {duration(program['uptimeSeconds'])}" if program["uptimeSeconds"] is not None else "",
        )
        for program in state["programs"]
    ]
    label = "programs"
    for line in table(programs):
        rows.append((label, line.rstrip()))
        label = ""
    return rows


def _registered(state: Part) -> str:
    if state["agentId"] is None:
        return "nothing yet" if state["running"] else "-"
    features = ", ".join(plain(feature) for feature in state["features"])
    return f"{plain(state['agentId'])} ({features or 'base protocol'})"


def _control_plane(part: Part) -> str:
    age = part["lastSuccessSecondsAgo"]
    answered = "has not answered yet" if age is None else f"answered {duration(age)} ago"
    error = ""
    if part["lastError"] and (age is None or part["lastErrorSecondsAgo"] < age):
        error = f"; last error {duration(part['lastErrorSecondsAgo'])} ago: {plain(part['lastError'])}"
    return f"{plain(part['url'] or '(AGENT_API_URL is not set here)')}, {answered}{error}"


def _jobs(part: Part) -> str:
    if part["state"] != "ok":
        return plain(part["error"] or "no journal yet")
    return (
        f"{part['running']} running, {part['waiting']} waiting, {part['undelivered']} results to deliver;"
        f" last hour {part['executedLastHour']} ended, {part['failedLastHour']} of them failed"
    )


def _vault(part: dict[str, Any]) -> str:
    count = part["entries"]
    return part["state"] if not count else f"{part['state']}, {count} credentials"
