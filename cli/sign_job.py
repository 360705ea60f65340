"""`easyalert-agent sign-job`: a job with its signature, for agents whose owner trusts the key. Needs no agent."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from cli.job_file import JobUnreadable, read_job
from cli.pause import end_of
from cli.signing_key import load
from easyalert.errors import ConfigurationError
from easyalert.protocol.canonical import NotCanonical
from easyalert.protocol.ids import new_id
from easyalert.protocol.sealed import Malformed, read_sealed, sealed_in
from easyalert.protocol.signing import LIFETIME_MAX_S, POOL_PREFIX, Signable, sign


def main(options: argparse.Namespace) -> int:
    """Print the body for `POST /api/v1/jobs`. Raises ConfigurationError, JobUnreadable."""
    key = load(Path(options.key))
    now = time.time()
    expires_at = end_of(None, options.span, now) or now
    if expires_at > now + LIFETIME_MAX_S:
        raise ConfigurationError(f"--for {options.span!r} is too long: a signature is valid for 31 days at most")
    body = addressed(read_job(options.job), options.agent, options.pool)
    signable = Signable(
        job_id=_sealed_for(body) or new_id("job", now),
        audience=body.get("agentId") or POOL_PREFIX + body["poolId"],
        action_type=body["actionType"],
        connection_id=body.get("connectionId"),
        params=body["params"],
        idempotent=body.get("idempotent"),
        expires_at=int(expires_at),
    )
    try:
        signature = sign(key, signable)
    except NotCanonical as error:
        raise JobUnreadable(f"the job cannot be signed: {error}") from None
    print(json.dumps({**body, "signature": signature.wire()}))
    return 0


def _sealed_for(body: dict[str, Any]) -> str | None:
    """The job that something in `body` is sealed for: it was given its id then. Raises JobUnreadable."""
    found = sealed_in(body["actionType"], body["params"])
    if found is None:
        return None
    try:
        sealed = read_sealed(*found)
    except Malformed as error:
        raise JobUnreadable(f"what is sealed in the job is malformed: {error}") from None
    if body.get("agentId") != sealed.agent_id:
        raise JobUnreadable(f"what is sealed in the job opens on one agent only: give --agent {sealed.agent_id}")
    return sealed.job_id


def addressed(job: dict[str, Any], agent: str | None, pool: str | None) -> dict[str, Any]:
    """The job as it will be sent: for one agent or one pool, its time limit among the parameters.

    The control plane must not have to change anything of what is signed. Raises JobUnreadable.
    """
    body = dict(job)
    if agent is not None or pool is not None:
        body |= {"agentId": agent, "poolId": pool}
    body = {name: value for name, value in body.items() if value is not None and name != "signature"}
    targets = [body[name] for name in ("agentId", "poolId") if name in body]
    if len(targets) != 1 or not isinstance(targets[0], str) or not targets[0]:
        raise JobUnreadable("a signature is for one agent or one pool: give --agent ID or --pool ID")
    if "timeout" in body:
        body["params"] = {**body["params"], "timeout": body.pop("timeout")}
    timeout = body["params"].get("timeout")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise JobUnreadable("timeout must be a number of seconds, not a text")
    if body["params"].get("headers", {}) is None:
        body["params"] = {name: value for name, value in body["params"].items() if name != "headers"}
    return body
