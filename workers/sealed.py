"""What a job's sender has sealed to this agent: judged before the fence, opened in the worker and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from easyalert.delivery_key import ensure_delivery_key
from easyalert.errors import AgentFault, ConfigurationError, SealRefused
from easyalert.journal import JobRow
from easyalert.protocol.sealed import (
    LIFETIME_MAX_S,
    STORE_CREDENTIAL,
    Malformed,
    NotOpened,
    Purpose,
    Sealed,
    open_sealed,
    read_sealed,
    sealed_in,
)
from easyalert.protocol.signing import key_id
from easyalert.sealing import PrivateKey

_SHOWN: Final = 60
_AGAIN: Final = "seal them again, for this agent and a new job (easyalert-agent seal --help)"

OpenCredentials = Callable[[str, str, dict[str, Any]], dict[str, Any] | None]
"""Job id, connection id and the job's parameters → the credentials that lie sealed in them; None: they lie in clear."""


@dataclass(frozen=True, repr=False)
class Seals:
    """The private half, read anew at each use: it may be changed while the agent runs."""

    path: Path
    agent_key: PrivateKey | None

    def judge(self, row: JobRow, params: dict[str, Any], agent_id: str | None, now: float) -> Sealed | None:
        """What is sealed in the parameters, if it may be opened for this job at this time; None: nothing is.

        `agent_id`: who this agent is to its control plane; None: not known before it has registered, and then the key
        alone decides. Whether it was used before is not known here. Raises SealRefused, AgentFault.
        """
        found = sealed_in(row.action, params)
        if found is None:
            return None
        purpose, value = found
        if purpose == "params" and row.action == STORE_CREDENTIAL:
            raise SealRefused(f"{STORE_CREDENTIAL} takes its credentials sealed, not all of its params; {_AGAIN}")
        sealed = _read(purpose, value)
        what = f"the job's sealed {purpose}"
        if agent_id is not None and sealed.agent_id != agent_id:
            raise SealRefused(f"{what} are for agent {sealed.agent_id[:_SHOWN]}, and this is {agent_id}; {_AGAIN}")
        if sealed.job_id != row.job_id:
            raise SealRefused(f"{what} belong to another job ({sealed.job_id[:_SHOWN]}); {_AGAIN}")
        if now >= sealed.expires_at:
            raise SealRefused(f"{what} expired {min(int(now) - sealed.expires_at, 10**9)} seconds ago; {_AGAIN}")
        if sealed.expires_at > now + LIFETIME_MAX_S:
            raise SealRefused(f"{what} are valid for more than {LIFETIME_MAX_S // 86_400} days; {_AGAIN}")
        self._key_for(sealed)
        return sealed

    def opened_params(self, row: JobRow, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters in clear, whether or not they were sealed. Raises SealRefused, AgentFault."""
        found = sealed_in(row.action, params)
        if found is None or found[0] != "params":
            return params
        inside = self._open(_read(*found), row.action, row.connection_id)
        if "timeout" in inside:
            raise SealRefused("the job's sealed params hold a timeout: it stands beside them, in clear")
        return inside | ({"timeout": params["timeout"]} if "timeout" in params else {})

    def open_credentials(self, job_id: str, connection_id: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """As OpenCredentials says. Raises SealRefused, AgentFault."""
        found = sealed_in(STORE_CREDENTIAL, params)
        if found is None or found[0] != "credentials":
            return None
        sealed = _read(*found)
        if sealed.job_id != job_id:
            raise SealRefused(f"the job's sealed credentials belong to another job; {_AGAIN}")
        return self._open(sealed, STORE_CREDENTIAL, connection_id)

    def _open(self, sealed: Sealed, action: str, connection_id: str | None) -> dict[str, Any]:
        key = self._key_for(sealed)
        what = f"the job's sealed {sealed.purpose}"
        try:
            return open_sealed(key, sealed, action, connection_id)
        except NotOpened:
            raise SealRefused(
                f"{what} do not open: they were changed on the way, or sealed for another agent, job or purpose; "
                f"{_AGAIN}"
            ) from None
        except Malformed as error:
            raise SealRefused(f"{what} cannot be used: {error}; {_AGAIN}") from None

    def _key_for(self, sealed: Sealed) -> X25519PrivateKey:
        if self.agent_key is None:
            raise AgentFault("this agent cannot open its delivery key: it belongs to another AGENT_API_KEY; restart it")
        try:
            key = ensure_delivery_key(self.path, self.agent_key)
        except ConfigurationError as error:
            raise AgentFault(str(error)) from None
        ours = key_id(key.public_key().public_bytes_raw())
        if sealed.key_id != ours:
            raise SealRefused(
                f"the job's sealed {sealed.purpose} were sealed to the key {sealed.key_id}, and this agent's is {ours} "
                "now: take it from GET /api/v1/agents/ID, or from easyalert-agent delivery-key, and seal them again"
            )
        return key


def _read(purpose: Purpose, value: Any) -> Sealed:
    try:
        return read_sealed(purpose, value)
    except Malformed as error:
        raise SealRefused(f"the job's sealed {purpose} are malformed: {error}; {_AGAIN}") from None
