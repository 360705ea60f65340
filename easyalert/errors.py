"""The error tree: every failure this product knows, classified once.

::

    EasyAlertError
    ├── ConfigurationError          settings, files or permissions a person has to change   (fault: agent)
    │   ├── StateDirectoryInUse     a second agent on one state directory
    │   └── PolicyUnusable          the policy or the list of trusted keys is not to be relied on: nothing runs
    ├── JobError                    the job asks for what cannot be done                     (fault: job)
    │   ├── InvalidParameter        a parameter is missing, of the wrong type, too long
    │   ├── UnknownAction
    │   ├── PolicyRefused           this agent does not run that
    │   │   └── SignatureRefused    nobody this agent's owner trusts has signed that
    │   ├── SealRefused             what was sealed for this agent is not for it, this job, this key or this time
    │   └── AddressRefused          the judge of addresses said no
    ├── CredentialError             the vault has no usable entry for the job                (fault: agent)
    ├── TargetError                 the remote end refused, failed or went away              (fault: target)
    ├── AgentFault                  this machine cannot do it (interpreter, disk, DNS)       (fault: agent)
    ├── JournalError                the agent's own records cannot be read or written        (fault: agent)
    │   ├── JournalFull             no space is left for it on the disk
    │   └── JournalDamaged
    ├── AuditError                  the record of what ran cannot be written or read         (fault: agent)
    ├── QueueError                  Redis is away or refuses                                 (fault: agent, retryable)
    ├── VaultError                                                                           (fault: agent)
    │   ├── WrongKey                the file is whole, but AGENT_API_KEY does not open it
    │   ├── VaultDamaged            the file or one entry is damaged
    │   ├── EntryNotFound
    │   ├── InvalidConnectionId
    │   └── VaultUnavailable        lock, permissions, disk
    └── ControlPlaneError                                                                    (fault: control plane)
        ├── Unauthorized            401 or 403: the key is not (or no longer) accepted
        ├── RateLimited             429, with the pause it asked for                         (retryable)
        ├── Refused                 another 3xx or 4xx: repeating the same request is useless
        │   └── KeyInUse            409: another running agent holds the key
        ├── BadAnswer               2xx with a body that is not the protocol                 (retryable)
        └── Unreachable             5xx, no connection, time-out, torn answer, open breaker  (retryable)

Everything else asks `retryable` and `fault` of these classes and never matches error texts.
Sentences in these errors are shown to people: they say what happened and what to do, and never hold a secret.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault a failure is; dispatch brakes on `agent`, operators look at the rest."""

    AGENT = "agent"
    TARGET = "target"
    JOB = "job"
    CONTROL_PLANE = "control_plane"


class EasyAlertError(Exception):
    """The root. `retryable`: may the very same attempt succeed later? `fault`: whose it is."""

    retryable: ClassVar[bool] = False
    fault: ClassVar[Fault] = Fault.AGENT


class ConfigurationError(EasyAlertError):
    """A person has to change a setting, a file or a permission."""


class StateDirectoryInUse(ConfigurationError):  # noqa: N818 - the condition is the name people search for
    """Another agent already runs on this state directory."""


class PolicyUnusable(ConfigurationError):  # noqa: N818 - as above
    """The policy file or the list of trusted keys is broken, missing or open to others: every job is refused."""


class JobError(EasyAlertError):
    """The job itself cannot be done as asked."""

    fault = Fault.JOB


class InvalidParameter(JobError):  # noqa: N818 - as above
    """A parameter is missing or unusable; the sentence names it."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"parameter '{parameter}' {problem}")
        self.parameter = parameter


class UnknownAction(JobError):  # noqa: N818 - as above
    """No executor of this agent knows the action."""


class PolicyRefused(JobError):  # noqa: N818 - as above
    """The owner of this agent does not allow the job."""


class SignatureRefused(PolicyRefused):
    """The job carries no signature that the owner of this agent trusts for it."""


class SealRefused(JobError):  # noqa: N818 - as above
    """Sealed parameters or credentials that this agent cannot or must not open; they have to be sealed anew."""


class CredentialError(EasyAlertError):
    """The vault holds no usable credential for the job."""


class TargetError(EasyAlertError):
    """The remote end refused, failed, or went away."""

    fault = Fault.TARGET


class AddressRefused(JobError):  # noqa: N818 - as above
    """The judge of network addresses refused a target (SSRF guard)."""


class AgentFault(EasyAlertError):  # noqa: N818 - as above
    """This machine cannot do it: interpreter missing, disk full, no DNS."""


class JournalError(EasyAlertError):
    """The job journal cannot be read or written."""


class JournalFull(JournalError):  # noqa: N818 - as above
    """There is no space left for what was to be written; nothing of it was."""


class JournalDamaged(JournalError):  # noqa: N818 - as above
    """The journal file is damaged; it is set aside, never written over."""


class AuditError(EasyAlertError):
    """The agent's audit record cannot be read or written; what is to be recorded waits in the journal."""


class QueueError(EasyAlertError):
    """Redis is away, read-only, or full."""

    retryable = True


class VaultError(EasyAlertError):
    """A credential cannot be read or written."""


class WrongKey(VaultError):  # noqa: N818 - as above
    """The vault file is whole, but AGENT_API_KEY does not open it; nothing is written."""


class VaultDamaged(VaultError):  # noqa: N818 - as above
    """The vault file, or one entry of it, is damaged."""


class EntryNotFound(VaultError):  # noqa: N818 - as above
    """No entry under that connection id."""


class InvalidConnectionId(VaultError):  # noqa: N818 - as above
    """Not a connection id (contract 4.2)."""


class VaultUnavailable(VaultError):  # noqa: N818 - as above
    """The vault file cannot be reached: lock, permissions, disk."""

    retryable = True


class ControlPlaneError(EasyAlertError):
    """A request to the control plane failed. `status` is the HTTP status, None when there was no answer."""

    fault = Fault.CONTROL_PLANE

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unauthorized(ControlPlaneError):  # noqa: N818 - as above
    """401 or 403: the key is not, or no longer, accepted."""


class RateLimited(ControlPlaneError):  # noqa: N818 - as above
    """429. `retry_after` is the pause asked for, in seconds, already capped."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, status=429)
        self.retry_after = retry_after


class Refused(ControlPlaneError):  # noqa: N818 - as above
    """A final 3xx or 4xx answer: repeating the same request is useless."""


class KeyInUse(Refused):
    """Another running agent holds this agent's key; the sentence is the control plane's."""


class BadAnswer(ControlPlaneError):  # noqa: N818 - as above
    """A 2xx answer whose body is not the protocol."""

    retryable = True


class Unreachable(ControlPlaneError):  # noqa: N818 - as above
    """5xx, no connection, time-out, torn answer, or the circuit breaker is open."""

    retryable = True
