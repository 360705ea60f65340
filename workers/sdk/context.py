"""All an executor gets: the job, its credential, its deadline, the rules for addresses, and a redactor."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from easyalert.errors import AgentFault, CredentialError
from easyalert.host_keys import HostKeys, NoHostKeys
from easyalert.netguard.judge import NetworkPolicy
from easyalert.redact import Redactor
from workers.isolation import Isolation
from workers.limits import Limits

Stopped = Literal["timed_out", "cancelled"]


class Live(Protocol):
    """Where redacted output goes while the job runs. No method raises or waits."""

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Take the next piece."""

    def wait(self) -> float | None:
        """Seconds until `tick` should be called; None: not before the next piece."""

    def tick(self) -> None:
        """Do what is due."""


Trace = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Is told what a client does (httpcore's `trace` extension)."""


class Relay(Protocol):
    """What may be asked of the control plane. Raises ControlPlaneError; its key is nothing that can be had here."""

    async def notify(self, document: dict[str, Any], seconds: float) -> None:
        """Hand a message over, in one attempt (contract 1.8)."""

    async def health(self, trace: Trace) -> None:
        """Nothing when the control plane says that it is well."""


class NoRelay:
    """Without a control plane, as in tests of other executors."""

    async def notify(self, document: dict[str, Any], seconds: float) -> None:  # noqa: ARG002 - the interface
        """Refused."""
        raise AgentFault("there is no control plane here to hand a message to")

    async def health(self, trace: Trace) -> None:  # noqa: ARG002 - the interface
        """Refused."""
        raise AgentFault("there is no control plane here to ask")


class Silent:
    """Nobody follows."""

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Nothing."""

    def wait(self) -> float | None:
        """Never."""
        return None

    def tick(self) -> None:
        """Nothing."""


@dataclass(repr=False)
class Context:
    """One job's surroundings. Its repr names the job only: parameters and credentials hold secrets.

    `read_credential` is set by the worker: it reads the vault entry for `connection_id` (None when there is none) and
    raises VaultError (WrongKey, VaultDamaged, …). Executors call `credential()` or `require_credential()`.
    """

    job_id: str
    action_type: str
    connection_id: str | None
    params: dict[str, Any]
    """The job's parameters as they came; actions get them parsed."""
    timeout_s: int
    """The job's time limit, clamped (contract 2.4)."""
    tmp_dir: Path
    """A private folder for files of running jobs, 0700."""
    mark: str
    """Put into the environment of every process a job starts (`EASYALERT_JOB`), so that its tree can be found."""
    known_secrets: tuple[str, ...] = ()
    """The agent's own secrets (API key, admin token): redacted from every result, like the credential's strings."""
    network_policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    allow_os_restart: bool = False
    read_credential: Callable[[str], dict[str, Any] | None] = lambda _: None
    bind: Callable[[str, dict[str, Any], str], None] = lambda _connection, _entry, _address: None
    """Remembers which address a vault entry is used for; set by the worker. See `bind_credential`."""
    relay: Relay = field(default_factory=NoRelay)
    host_keys: HostKeys = field(default_factory=NoHostKeys)
    """The SSH host keys the agent has pinned, and its owner's rule for hosts nobody knows; set by the worker."""
    live: Live = field(default_factory=Silent)
    cancelled: Callable[[], bool] = lambda: False
    wake_fd: int | None = None
    """Readable when `cancelled` may have changed; calling that makes it unreadable again."""
    cancel_grace_s: float = 10.0
    """Between SIGTERM and SIGKILL for the processes of a cancelled job."""
    limits: Limits = field(default_factory=Limits)
    """What a script may use."""
    isolation: Isolation = field(default_factory=Isolation)
    """How a script is kept from the agent's own files and processes."""
    clock: Callable[[], float] = time.monotonic
    deadline: float = 0.0
    """On `clock`. Zero: set from `timeout_s` at construction."""
    redactor: Redactor = field(init=False)
    _credential: dict[str, Any] | None = None
    _credential_read: bool = False
    _hidden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.redactor = Redactor(self.known_secrets)
        self.deadline = self.deadline or self.clock() + self.timeout_s

    def __repr__(self) -> str:
        return f"Context({self.action_type} {self.job_id})"

    @property
    def temporary_prefix(self) -> str:
        """How names of files and folders in `tmp_dir` begin: they say whose they are, and go when that worker dies."""
        return f"easyalert_{os.getpid()}_"

    def remaining(self) -> float:
        """Seconds until the job's deadline, never negative."""
        return max(0.0, self.deadline - self.clock())

    def narrowed(self, **changes: Any) -> Context:
        """The same job with another `deadline`, `live`, `cancelled`, … for a part of it; the redactor is shared.

        Not to be used beyond a call of `credential` or `hide`, which make a new redactor.
        """
        part = replace(self, **changes)
        part.redactor = self.redactor
        return part

    def stopped(self) -> Stopped | None:
        """Why the action has to end now; None while it may go on."""
        if self.cancelled():
            return "cancelled"
        return "timed_out" if self.clock() >= self.deadline else None

    def credential(self) -> dict[str, Any] | None:
        """The vault entry of the job's connection; None when the job names none or the vault has none.

        From the first call on, all its strings are redacted from whatever this job returns.
        """
        if not self._credential_read:
            self._credential = self.read_credential(self.connection_id) if self.connection_id else None
            self._credential_read = True
            if self._credential:
                self._renew_redactor()
        return self._credential

    def bind_credential(self, address: str) -> None:
        """Say that the credential is about to be sent to `address`, which the vault's entry does not name.

        The agent remembers the first one for as long as the entry stays the same. Raises PolicyRefused for another.
        """
        entry = self.credential()
        if entry and self.connection_id:
            self.bind(self.connection_id, entry, address)

    def hide(self, values: Iterable[object]) -> None:
        """Redact these too from now on: secrets that came with the job, or were made while it ran."""
        self._hidden = (*self._hidden, *(str(value) for value in values if value))
        self._renew_redactor()

    def _renew_redactor(self) -> None:
        count = self.redactor.count
        self.redactor = Redactor.of((*self.known_secrets, *self._hidden), self._credential or {})
        self.redactor.count = count

    def require_credential(self) -> dict[str, Any]:
        """As `credential`, but raises CredentialError naming the connection and the command that adds it."""
        found = self.credential()
        if found is None:
            if not self.connection_id:
                raise CredentialError(f"{self.action_type} needs a connectionId: its credential is read from the vault")
            raise CredentialError(
                f"the vault of this agent has no credential for connection '{self.connection_id}'; "
                "deliver it from the control plane or through PUT /connections/ID of the admin API"
            )
        return found
