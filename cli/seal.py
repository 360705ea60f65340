"""`easyalert-agent seal`: credentials, or a job's parameters, that nobody but one agent can read. Needs no agent here.

Offline with the agent's public key it prints the body for `POST /api/v1/jobs`, which `sign-job` can sign; with `--url`
it asks the control plane for keys that are not given, and sends what it has sealed. Secrets come by file or standard
input, and are never printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli.job_file import JobUnreadable, read_job
from cli.operators_api import OperatorsApi
from cli.pause import end_of
from cli.secrets_in import credentials_from, read_line
from cli.terminal import plain
from easyalert.errors import ConfigurationError
from easyalert.protocol.ids import new_id
from easyalert.protocol.sealed import (
    LIFETIME_MAX_S,
    STORE_CREDENTIAL,
    Addressed,
    Malformed,
    fingerprint,
    read_public_key,
    seal,
)


@dataclass(frozen=True)
class Recipient:
    """An agent and its key."""

    agent_id: str
    key: bytes


def main(options: argparse.Namespace) -> int:
    """Print the sealed job, or what became of it.

    Raises ConfigurationError, JobUnreadable, ControlPlaneError.
    """
    if options.pool is not None and (options.connection is None or options.key is not None or options.url is None):
        raise ConfigurationError("--pool is for credentials: give --connection ID and --url URL, and no --key")
    if options.url is None:
        if options.key is None:
            raise ConfigurationError("give the agent's public key (--key), or --url to ask the control plane for it")
        print(json.dumps(_job(options, _given(options))))
        return 0
    with OperatorsApi(options.url, options.token_file) as api:
        to = [_given(options)] if options.key is not None else _asked(options, api)
        if options.connection is None:
            told = api.send("POST", "/jobs", _job(options, to[0]))
            told = {"jobId": told["id"], "agentId": to[0].agent_id, "status": told["status"]}
        else:
            secret = credentials_from(options.file)
            sealed = [_credentials(options, recipient, secret)["params"]["credentials"] for recipient in to]
            target = {"poolId": options.pool} if options.pool is not None else {"agentId": options.agent}
            told = api.send(
                "PUT", f"/connections/{quote(options.connection, safe='')}/credentials", {**target, "sealed": sealed}
            )
    print(json.dumps(told))
    return 0


# ---- to whom --------------------------------------------------------------------------------------------------------


def _given(options: argparse.Namespace) -> Recipient:
    text = options.key
    key = read_public_key(text) or read_public_key(read_line(Path(text)))
    if key is None:
        raise ConfigurationError(
            "--key is an agent's public key: 32 bytes in Base64, or a file with that in its first line"
        )
    _compare(options, options.agent, key)
    return Recipient(options.agent, key)


def _asked(options: argparse.Namespace, api: OperatorsApi) -> list[Recipient]:
    views = [api.agent(options.agent)] if options.pool is None else api.agents_of(options.pool)
    if not views:
        raise ConfigurationError(f"pool '{plain(options.pool)}' has no agent")
    return [_recipient(options, view) for view in views]


def _recipient(options: argparse.Namespace, view: dict[str, Any]) -> Recipient:
    name = f"agent {plain(view.get('name'))} ({plain(view.get('id'))})"
    text = view.get("publicKey")
    key = read_public_key(text) if isinstance(text, str) and "sealed" in (view.get("features") or ()) else None
    if key is None:
        raise ConfigurationError(f"{name} takes nothing sealed: update and start it, or send in clear")
    _compare(options, name, key)
    if not options.fingerprint:
        print(
            f"easyalert-agent: {name}: its key is the control plane's word: {fingerprint(key)}\n"
            "  compare it with `easyalert-agent delivery-key` on that machine, and give --fingerprint from then on",
            file=sys.stderr,
        )
    return Recipient(options.agent or str(view["id"]), key)


def _compare(options: argparse.Namespace, name: str, key: bytes) -> None:
    wanted = [text.replace(":", "").replace(" ", "").lower() for text in options.fingerprint or ()]
    if wanted and fingerprint(key) not in wanted:
        raise ConfigurationError(
            f"the key of {name} has the fingerprint {fingerprint(key)}, none of those given: nothing was sealed"
        )


# ---- what -----------------------------------------------------------------------------------------------------------


def _job(options: argparse.Namespace, to: Recipient) -> dict[str, Any]:
    """The body for `POST /api/v1/jobs`."""
    if options.connection is not None:
        return _credentials(options, to, credentials_from(options.file))
    job = read_job("-" if options.file is None else str(options.file))
    if job["actionType"] == STORE_CREDENTIAL:
        raise JobUnreadable("credentials are sealed by themselves: give them in the file, and --connection ID")
    if "signature" in job:
        raise JobUnreadable("the job is signed already, and sealing would change it: seal first, then sign")
    body = {name: value for name, value in job.items() if name not in {"poolId", "timeout"} and value is not None}
    params = dict(job["params"])
    # in clear: the agent's clock for the job, and the control plane's, must know it
    limits = {"timeout": params.pop("timeout", None), **({"timeout": job["timeout"]} if "timeout" in job else {})}
    sealed = _sealed(options, to, "params", job["actionType"], job.get("connectionId"), params)
    clear = {name: value for name, value in limits.items() if value is not None}
    return {**body, "agentId": to.agent_id, "params": {**sealed, **clear}}


def _credentials(options: argparse.Namespace, to: Recipient, secret: dict[str, Any]) -> dict[str, Any]:
    sealed = _sealed(options, to, "credentials", STORE_CREDENTIAL, options.connection, secret)
    params = {"connectionId": options.connection, "credentials": sealed}
    return {"actionType": STORE_CREDENTIAL, "agentId": to.agent_id, "params": params}


def _sealed(
    options: argparse.Namespace,
    to: Recipient,
    purpose: Any,
    action: str,
    connection: str | None,
    secret: dict[str, Any],
) -> dict[str, Any]:
    now = time.time()
    expires_at = int(end_of(None, options.span, now) or now)
    if expires_at > now + LIFETIME_MAX_S:
        raise ConfigurationError(f"--for {options.span!r} is too long: what is sealed is valid for 31 days at most")
    try:
        addressed = Addressed(purpose, to.agent_id, new_id("job", now), action, connection, expires_at)
        return seal(to.key, addressed, secret).wire()
    except Malformed as error:
        raise JobUnreadable(f"it cannot be sealed: {error}") from None
