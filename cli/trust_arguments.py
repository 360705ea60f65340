"""Arguments of the commands about trust: `policy`, `sign-job`, `signing-key`, `seal`, `delivery-key`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    """To the top parser's commands."""
    policy = commands.add_parser("policy", help="what this agent may do: explain a decision, show the policy in force")
    whats = policy.add_subparsers(dest="policy_command", metavar="WHAT", required=True)
    check = whats.add_parser(
        "check",
        help="explain what a policy file says about a job, rule by rule; runs nothing",
        description="Explains, rule by rule, whether a policy file lets a job run. JOB.json is a job as it is sent to"
        ' POST /api/v1/jobs: {"actionType": …, "connectionId": …, "params": {…}}.',
        epilog="Exit codes: 0 the rules let it run; 5 they refuse it; 1 the job, 2 the policy file cannot be used.",
    )
    check.add_argument("file", metavar="FILE", help="the policy file, in force or not")
    check.add_argument("job", metavar="JOB.json", help="the job; - for standard input")
    check.add_argument("--at", metavar="TIME", help="as if it were then, for example 2026-01-31T03:00+01:00")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    show = whats.add_parser("show", help="the policy in force, as it is understood, and whose signatures count")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    _add_signing(commands)
    _add_sealing(commands)


def _add_signing(commands: Any) -> None:
    sign = commands.add_parser(
        "sign-job",
        help="sign a job, offline, for agents that run signed jobs only",
        description="Prints the job with its signature, ready for POST /api/v1/jobs. The job is for one agent or one"
        " pool, named in JOB.json (agentId, poolId) or here. Every signature is good for one job.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  easyalert-agent sign-job JOB.json --key ops.key --pool default --for 15m |\n"
        "    curl -sS -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d @- URL/api/v1/jobs",
    )
    sign.add_argument(
        "job", metavar="JOB.json", help="the job, as it is sent to POST /api/v1/jobs; - for standard input"
    )
    sign.add_argument("--key", required=True, metavar="FILE", help="the signing key (easyalert-agent signing-key FILE)")
    to = sign.add_mutually_exclusive_group()
    to.add_argument("--agent", metavar="ID", help="for this agent only")
    to.add_argument("--pool", metavar="ID", help="for whichever agent of this pool gets it")
    sign.add_argument(
        "--for", dest="span", default="1h", metavar="SPAN", help="valid for 90s, 30m, 2h, 7d (default: 1h)"
    )
    key = commands.add_parser(
        "signing-key",
        help="make a signing key, or show the public half of one; the private half is never shown",
        description="Makes the key pair when FILE is missing (mode 0600), and prints its public half: the line for"
        " JOB_SIGNATURE_KEYS_FILE on the agents. Keep FILE away from the control plane and from agents.",
    )
    key.add_argument("file", metavar="FILE", help="where the private key is kept")


def _add_sealing(commands: Any) -> None:
    seal = commands.add_parser(
        "seal",
        help="seal credentials, or a job's parameters, so that only one agent can read them",
        description="Prints the sealed job, ready for POST /api/v1/jobs or sign-job; with --url, sends it. With"
        " --connection the file holds credentials, without it a job whose params are sealed. docs/sealed.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="examples:\n"
        "  easyalert-agent seal db.json --connection web-db --agent agt_… --key j0DF…=\n"
        "  easyalert-agent seal db.json --connection web-db --pool default --url https://… --token-file token\n"
        "  easyalert-agent seal JOB.json --agent agt_… --key agent.pub | easyalert-agent sign-job - --key ops.key",
    )
    seal.add_argument(
        "file", nargs="?", type=_file, metavar="FILE", help="JSON; default or -: standard input, or a prompt"
    )
    seal.add_argument("--connection", metavar="ID", help="the file holds credentials, to be stored under this id")
    to = seal.add_mutually_exclusive_group(required=True)
    to.add_argument("--agent", metavar="ID", help="for this agent")
    to.add_argument("--pool", metavar="ID", help="for every agent of this pool, to each by itself (credentials, --url)")
    seal.add_argument(
        "--key", metavar="KEY", help="the agent's public key in Base64, or a file with it; default: as --url says"
    )
    seal.add_argument(
        "--fingerprint", action="append", metavar="HEX", help="the key must have this one; once per agent of a pool"
    )
    seal.add_argument("--url", metavar="URL", help="the control plane to send it to")
    seal.add_argument(
        "--token-file", type=Path, metavar="FILE", help="its first line is an operator's token; or EASYALERT_TOKEN"
    )
    seal.add_argument(
        "--for", dest="span", default="1d", metavar="SPAN", help="valid for 90s, 30m, 2h, 7d (default: 1d)"
    )
    delivery = commands.add_parser(
        "delivery-key",
        help="the key that credentials and parameters are sealed to for this agent; --rotate changes it",
        description="Shows the public half and its fingerprint, to be compared with what the control plane shows."
        " docs/sealed.md says how to seal to it.",
    )
    delivery.add_argument(
        "--rotate", action="store_true", help="make a new pair; what was sealed to the former one opens no more"
    )
    delivery.add_argument("--json", action="store_true", help="print one JSON object")


def _file(text: str) -> Path | None:
    return None if text == "-" else Path(text)
