"""What the pool's parent loads once and every worker inherits by fork: keys, vault, executors, settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from redis import Redis
from rq.utils import now, utcformat, utcparse

from easyalert.delivery_key import ensure_delivery_key
from easyalert.errors import (
    AgentFault,
    ConfigurationError,
    CredentialError,
    EasyAlertError,
    EntryNotFound,
    InvalidConnectionId,
    JobError,
    WrongKey,
)
from easyalert.journal import JobRow
from easyalert.netguard.judge import NetworkPolicy
from easyalert.protocol.limits import JOB_PARAMS_MAX_CHARS
from easyalert.queues import connect
from easyalert.redact import Redactor
from easyalert.sealing import PrivateKey, load_private_key, seal_info
from easyalert.settings import AgentSettings
from vault import Vault, VaultKey
from workers.confinement import Confinement, find_confinement
from workers.guards import Guards
from workers.isolation import Isolation
from workers.isolation_trial import find_isolation
from workers.limits import Limits
from workers.registry import Registry
from workers.sealed import Seals
from workers.special import SPECIAL_ACTIONS

log = logging.getLogger(__name__)

_PRELOADED = ("script", "http")
"""Kinds whose modules the parent imports, so that the workers share their memory and the first job is no slower."""


@dataclass(frozen=True)
class Toolbox:
    """Read-only after the fork."""

    settings: AgentSettings
    private_key: PrivateKey | None
    """None: no API key we have opens it; jobs are then answered with a clear error."""
    vault: Vault
    registry: Registry
    network_policy: NetworkPolicy
    agent: str
    """Digest of the state directory; part of every job's mark."""
    redis: Redis
    """Never used by the parent, so without a connection: each process makes its own."""
    confinement: Confinement
    isolation: Isolation

    @property
    def limits(self) -> Limits:
        """What a script may use."""
        ours = self.settings
        return Limits(ours.script_max_cpu_seconds, ours.script_max_memory_mb, ours.script_max_open_files)

    def guards(self) -> Guards:
        """The policy and the trusted keys, for one process: it reads them anew when they change."""
        return Guards.of(self.settings)

    def open_params(self, row: JobRow) -> dict[str, Any]:
        """A job's parameters as they came, out of the journal: what their sender has sealed is still sealed (`seals`).

        Raises AgentFault, or JobError when they are too large or no object.
        """
        if self.private_key is None or row.sealed is None:
            raise AgentFault(
                "this agent cannot open the job's parameters: its key file belongs to another AGENT_API_KEY; "
                "restart the agent, then send the job again"
            )
        try:
            text = self.private_key.open(row.sealed, seal_info(row.job_id)).decode()
        except (InvalidTag, ValueError):
            raise AgentFault(
                "the job's parameters cannot be opened with this agent's key; send the job again"
            ) from None
        if len(text) > JOB_PARAMS_MAX_CHARS:
            raise JobError(f"the job's parameters are {len(text)} characters long; at most {JOB_PARAMS_MAX_CHARS}")
        try:
            params = json.loads(text)
        except ValueError:
            raise JobError("the job's parameters are no JSON") from None
        if params is None:
            return {}
        if not isinstance(params, dict):
            raise JobError("the job's parameters must be an object")
        return params

    def params_digest(self, row: JobRow) -> str | None:
        """Keyed digest of a job's parameters for the audit record; None when they cannot be opened."""
        if self.private_key is None or row.sealed is None:
            return None
        try:
            return self.private_key.digest(self.private_key.open(row.sealed, seal_info(row.job_id)))
        except (InvalidTag, ValueError):
            return None

    @property
    def seals(self) -> Seals:
        """Opens what was sealed to this agent by whoever sent the job."""
        return Seals(self.settings.delivery_key_path, self.private_key)

    def read_credential(self, connection_id: str) -> dict[str, Any] | None:
        """The vault's entry, None when there is none. Raises CredentialError when the vault is locked, VaultError."""
        try:
            return self.vault.get(connection_id)
        except (EntryNotFound, InvalidConnectionId):
            return None
        except WrongKey as error:
            raise CredentialError(f"the vault of this agent is locked: {error}") from None

    def entry_digest(self, entry: dict[str, Any]) -> str:
        """Keyed digest of a vault entry, by which it is known as the same one. Raises AgentFault without a key."""
        if self.private_key is None:
            raise AgentFault("this agent's key file belongs to another AGENT_API_KEY; restart the agent")
        return self.private_key.digest(json.dumps(entry, sort_keys=True).encode())

    def secrets(self) -> tuple[str, ...]:
        """The agent's own secrets, read anew: the admin token may have been made after this process began."""
        known = self.settings.secrets()
        with contextlib.suppress(OSError, ValueError):
            known.append(self.settings.admin_token_path.read_text(encoding="ascii").strip())
        return tuple(known)

    def may_repeat(self, row: JobRow) -> bool:
        """May the job run a second time? Its own word, else the executor's; when nobody can tell, no."""
        if row.idempotent is not None:
            return row.idempotent
        if row.action in SPECIAL_ACTIONS:
            return True
        try:
            spec = self.registry.spec(row.action)
            if isinstance(spec.idempotent, bool):
                return spec.idempotent
            return spec.may_repeat(self.seals.opened_params(row, self.open_params(row)))
        except EasyAlertError:
            return False

    def repeatable(self) -> list[str]:
        """Actions that may run twice without harm whatever their parameters, of the executors that are loaded."""
        return sorted(SPECIAL_ACTIONS | set(self.registry.repeatable()))


def pack(settings: AgentSettings) -> Toolbox:
    """Load everything, deriving each key once. Raises ConfigurationError when the agent's key file is unusable."""
    api_key = settings.agent_api_key.get_secret_value()
    previous = settings.agent_api_key_previous.get_secret_value() if settings.agent_api_key_previous else None
    private_key = load_private_key(settings.agent_key_path, [key for key in (api_key, previous) if key])
    if private_key is None:
        log.error("AGENT_API_KEY does not open %s: waiting jobs cannot run", settings.agent_key_path)
    else:
        try:
            ensure_delivery_key(settings.delivery_key_path, private_key)
        except ConfigurationError:
            log.exception("nothing can be sealed to this agent")
    vault = Vault(settings.vault_path, VaultKey(api_key, previous))
    state = vault.check()  # derives the key for the file's salt; the workers find it done
    if state.state not in {"ok", "empty"}:
        log.error("vault: %s", state.sentence)
    control_plane = urlsplit(settings.agent_api_url)
    registry = Registry(owners_actions=settings.custom_actions_dir)
    for kind in set(_PRELOADED) & set(registry.kinds()):
        try:
            registry.executor(kind)
        except EasyAlertError:
            log.exception("starting without the %s executor", kind)
    agent = hashlib.sha256(str(settings.state_dir).encode()).hexdigest()[:16]
    tools = Toolbox(
        settings=settings,
        private_key=private_key,
        vault=vault,
        registry=registry,
        network_policy=NetworkPolicy(
            allow_private=settings.allow_private_network,
            allowed_networks=settings.http_allowed_networks,
            exempt_origins=frozenset({f"{control_plane.scheme}://{control_plane.netloc}"}),
        ),
        agent=agent,
        redis=connect(settings, glance=True),
        confinement=find_confinement(agent, settings.script_max_processes, settings.script_max_memory_mb),
        isolation=find_isolation(settings, agent),
    )
    _rehearse(tools)
    return tools


def _rehearse(tools: Toolbox) -> None:
    """Have libraries build what they build on first use, so that no worker does it in its first job."""
    utcparse(utcformat(now()))
    Redactor(tools.secrets()).text("the patterns are remembered")
