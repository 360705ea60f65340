"""The worker's own two actions, which need the vault: `connection.test`, `system.storeCredential` (contract 2.8)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from easyalert.clear_text import safe_for_credentials
from easyalert.errors import Fault, VaultError
from easyalert.protocol.sealed import STORE_CREDENTIAL
from vault import Vault
from workers.sdk import Context, ExecutorResult, failure, success
from workers.sealed import OpenCredentials

log = logging.getLogger(__name__)

CONNECTION_TEST: Final = "connection.test"
SPECIAL_ACTIONS: Final = frozenset({CONNECTION_TEST, STORE_CREDENTIAL})
"""Both may be repeated without harm: one only looks, the other replaces an entry as a whole."""


@dataclass(frozen=True)
class Delivery:
    """How credentials may come to this agent."""

    url: str
    """Of the control plane."""
    sealed_only: bool
    """CREDENTIAL_DELIVERY=sealed."""
    open_sealed: OpenCredentials


def run_special(ctx: Context, vault: Vault, delivery: Delivery) -> ExecutorResult:
    """Run one of SPECIAL_ACTIONS. Raises SealRefused, AgentFault."""
    actions: dict[str, Callable[[], ExecutorResult]] = {
        CONNECTION_TEST: lambda: _test(ctx, vault),
        STORE_CREDENTIAL: lambda: _store(ctx, vault, delivery),
    }
    return actions[ctx.action_type]()


def _test(ctx: Context, vault: Vault) -> ExecutorResult:
    connection_id = ctx.connection_id
    if not connection_id:
        return failure("connection.test needs a connectionId", exit_code=-1, fault=Fault.JOB)
    try:
        vault.get(connection_id)
    except VaultError as error:
        sentence = str(error)
        return failure(sentence, output={"message": sentence}, exit_code=1, fault=error.fault)
    return success({"message": f"the vault of this agent holds credentials for connection '{connection_id}'"})


def _store(ctx: Context, vault: Vault, delivery: Delivery) -> ExecutorResult:
    # sealed ones too: whoever can change plain http can have given the control plane another key than this agent's
    if not safe_for_credentials(delivery.url):
        return failure(
            "refused: AGENT_API_URL is plain http to another machine, and credentials would travel in clear; "
            "use https, or store them on the agent itself (PUT /connections/ID of its admin API)",
            exit_code=-1,
            fault=Fault.AGENT,
        )
    connection_id, credentials = ctx.params.get("connectionId"), ctx.params.get("credentials")
    if not isinstance(connection_id, str) or not connection_id:
        return failure("parameter 'connectionId' is required", exit_code=-1, fault=Fault.JOB)
    opened = delivery.open_sealed(ctx.job_id, connection_id, ctx.params)
    if opened is None and delivery.sealed_only:
        return failure(
            "refused: this agent takes sealed credentials only (CREDENTIAL_DELIVERY=sealed); "
            "see: easyalert-agent seal --help, or store them on the agent itself: easyalert-agent vault set ID",
            exit_code=-1,
            fault=Fault.JOB,
        )
    credentials = credentials if opened is None else opened
    if not isinstance(credentials, dict) or not credentials:
        return failure(
            "parameter 'credentials' is required and must be an object that is not empty", exit_code=-1, fault=Fault.JOB
        )
    return _put(vault, connection_id, credentials)


def _put(vault: Vault, connection_id: str, credentials: dict[str, Any]) -> ExecutorResult:
    try:
        vault.put(connection_id, credentials)
    except VaultError as error:
        # the vault's sentences name paths of this machine: they are for its log
        log.exception("credentials for a connection were not stored")
        return failure("the agent could not store these credentials; its log says why", exit_code=1, fault=error.fault)
    log.info("stored credentials for connection %s", connection_id)
    return success({"message": f"stored credentials for connection '{connection_id}'"})
