"""Parameters of the kubernetes executor, and what it reads of a connection (contract 3.4)."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, Field

from easyalert.errors import CredentialError, InvalidParameter
from easyalert.kubeconfig import KUBECONFIG_MAX_BYTES, ClusterAccess, read_kubeconfig
from workers.sdk.connection import Connection, SecretText, read_connection
from workers.sdk.context import Context
from workers.sdk.kubernetes_manifest import MANIFEST_MAX_BYTES
from workers.sdk.parameters import Count, Limited, Line, Prose, Word

DEFAULT_TIMEOUT_S: Final = 60.0
PATTERN_MAX_CHARS: Final = 200
SELECTOR_MAX_CHARS: Final = 500

_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_SELECTOR: Final = re.compile(r"[A-Za-z0-9_./\-=!,() ]+", re.ASCII)
_MANAGER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*", re.ASCII)


def _name(value: str) -> str:
    if len(value) > 253 or not _SUBDOMAIN.fullmatch(value):
        raise ValueError("is no name of a Kubernetes object: 1-253 lower-case letters, digits, hyphens and dots")
    return value


def _selector(value: str) -> str:
    if len(value) > SELECTOR_MAX_CHARS or not _SELECTOR.fullmatch(value):
        raise ValueError(f"must be 1-{SELECTOR_MAX_CHARS} characters of letters, digits, space and _ . / - = ! , ( )")
    return value


def _manager(value: str) -> str:
    if len(value) > 128 or not _MANAGER.fullmatch(value):
        raise ValueError("must be 1-128 letters, digits and . _ / -")
    return value


def _blank_is_nothing(value: Any) -> Any:
    return None if isinstance(value, str) and value == "" else value


Name = Annotated[str, AfterValidator(_name)]
"""Of an object: a DNS subdomain (RFC 1123), so dots are allowed (defect D14) and a trailing newline is not (C21)."""
Optionally = BeforeValidator(_blank_is_nothing)
"""Templates produce an empty text for a variable that is not set."""


class KubernetesConnection(Connection):
    """The kubeconfig is read from the vault's entry alone, whatever a job says."""

    address: ClassVar = ()  # the kubeconfig holds address and secret in one, and comes from the vault

    kubeconfig: SecretText | None = Field(
        default=None, description="YAML, at most 1 MiB, with all data embedded: no files, no exec, no auth-provider."
    )
    kubeconfig_path: str | None = Field(
        default=None,
        alias="kubeconfigPath",
        description="Instead: an absolute path on the agent's host, without symbolic links.",
    )
    context: Annotated[Line | None, Optionally] = Field(
        default=None, description="Of the kubeconfig; its current one when not given."
    )
    namespace: Annotated[Name, BeforeValidator(lambda value: value or "default")] = Field(
        default="default", description="Where the objects are."
    )


def read_access(ctx: Context) -> tuple[ClusterAccess, str]:
    """The cluster of the job's connection, and the namespace. Raises CredentialError (defect C4: never the host's own).

    Neither `KUBECONFIG`, nor `~/.kube/config`, nor a service account's token is looked at, on any way.
    """
    entry = ctx.require_credential()
    connection = read_connection(ctx, KubernetesConnection)
    if entry.get("context") and ctx.params.get("context") not in (None, "", entry["context"]):
        raise InvalidParameter("context", f"is another than the one the vault has for connection '{ctx.connection_id}'")
    text, path = entry.get("kubeconfig"), entry.get("kubeconfigPath")
    if text is not None and not isinstance(text, str):
        raise CredentialError(f"'kubeconfig' of connection '{ctx.connection_id}' must be the YAML as one text")
    if not (text and text.strip()):
        if not isinstance(path, str) or not path:
            raise CredentialError(
                f"connection '{ctx.connection_id}' has no 'kubeconfig' in its vault entry; a job is never run with the "
                "agent host's own; deliver it from the control plane or through PUT /connections/ID of the admin API"
            )
        text = _file(path)
        ctx.hide([text])
    access = read_kubeconfig(text, connection.context)
    ctx.hide(access.secrets)
    return access, connection.namespace


def _file(path: str) -> str:
    """Raises CredentialError for a path that is relative, has `..`, or leads through a symbolic link (contract 3.4)."""
    parts = Path(path).parts
    if not path.startswith("/") or ".." in parts or "\0" in path:
        raise CredentialError("'kubeconfigPath' must be an absolute path without '..'")
    opened = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, part in enumerate(parts[1:], start=1):
            last = place == len(parts) - 1
            # not blocking: a pipe of that name must not hang the job
            flags = os.O_RDONLY | os.O_NONBLOCK if last else os.O_PATH | os.O_DIRECTORY
            inner = os.open(part, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened)
            os.close(opened)
            opened = inner
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise CredentialError("'kubeconfigPath' names no file")
        with os.fdopen(os.dup(opened), "rb") as file:
            content = file.read(KUBECONFIG_MAX_BYTES + 1)
    except OSError as error:
        raise CredentialError(
            f"the file of 'kubeconfigPath' cannot be read ({error.strerror}); symbolic links are not followed"
        ) from None
    finally:
        os.close(opened)
    return content.decode("utf-8", "replace")


class ClusterParameters(Limited):
    """What every action takes."""

    namespace: Annotated[Name | None, Optionally] = Field(default=None, description="Where the object is; `default`.")
    context: Annotated[Line | None, Optionally] = Field(default=None, description="Of the kubeconfig.")


class Waiting(ClusterParameters):
    """An action that starts a rollout."""

    wait: bool = Field(default=False, description="Until the rollout is over, within the time limit.")


class DeploymentParameters(Waiting):
    """Which deployment."""

    deployment: Name = Field(description="Its name.")


class StatefulSetParameters(Waiting):
    """Which stateful set."""

    stateful_set: Name = Field(alias="statefulSet", description="Its name.")


class DaemonSetParameters(Waiting):
    """Which daemon set."""

    daemon_set: Name = Field(alias="daemonSet", description="Its name.")


class _Replicas(Waiting):
    replicas: Annotated[Count, Field(le=10_000)] = Field(description="0 to 10000.")


class ScaleDeploymentParameters(_Replicas, DeploymentParameters):
    """Which deployment, and how many pods."""


class ScaleStatefulSetParameters(_Replicas, StatefulSetParameters):
    """Which stateful set, and how many pods."""


class _Revision(Waiting):
    revision: Annotated[Count, Field(le=2**63 - 1)] = Field(default=0, description="0: the one before the present.")


class RollbackDeploymentParameters(_Revision, DeploymentParameters):
    """Which deployment, and to which revision."""


class RollbackStatefulSetParameters(_Revision, StatefulSetParameters):
    """Which stateful set, and to which revision."""


class RollbackDaemonSetParameters(_Revision, DaemonSetParameters):
    """Which daemon set, and to which revision."""


class RolloutStatusParameters(Waiting):
    """Exactly one of the three."""

    deployment: Annotated[Name | None, Optionally] = Field(default=None, description="A deployment's name.")
    stateful_set: Annotated[Name | None, Optionally] = Field(
        default=None, alias="statefulSet", description="Or a stateful set's."
    )
    daemon_set: Annotated[Name | None, Optionally] = Field(
        default=None, alias="daemonSet", description="Or a daemon set's."
    )


class DeletePodParameters(ClusterParameters):
    """Which pod."""

    pod: Name = Field(description="Its name.")
    grace_period: Annotated[Count, Field(le=2**31 - 1)] | None = Field(
        default=None, alias="gracePeriod", description="Seconds the pod gets to end; 0: at once, unconfirmed."
    )


class LogParameters(ClusterParameters):
    """Exactly one of `pod`, `podPattern` and `selector`."""

    pod: Annotated[Name | None, Optionally] = Field(default=None, description="One pod's name.")
    pod_pattern: Annotated[Annotated[Word, Field(max_length=PATTERN_MAX_CHARS)] | None, Optionally] = Field(
        default=None,
        alias="podPattern",
        description="Pods in whose name this Python regular expression is found; at most 10.",
    )
    selector: Annotated[Annotated[str, AfterValidator(_selector)] | None, Optionally] = Field(
        default=None, description="Pods with these labels; at most 10."
    )
    container: Annotated[Name | None, Optionally] = Field(default=None, description="When a pod has several.")
    tail_lines: Annotated[Count, Field(le=2**31 - 1)] | None = Field(
        default=None, alias="tailLines", description="Only so many lines, the newest."
    )
    since_seconds: Annotated[Count, Field(le=2**31 - 1)] | None = Field(
        default=None, alias="sinceSeconds", description="Only what is younger; 0: everything."
    )
    previous: bool = Field(default=False, description="Of the container before its last restart.")


class ApplyParameters(ClusterParameters):
    """What is to be there afterwards."""

    manifest: Annotated[Prose, Field(max_length=MANIFEST_MAX_BYTES)] = Field(
        description="YAML or JSON, one or several documents, at most 1 MiB and 100 objects."
    )
    dry_run: bool = Field(default=False, alias="dryRun", description="Checked by the server, nothing is kept.")
    force: bool = Field(default=False, description="Take over fields that another manager owns.")
    field_manager: Annotated[str, AfterValidator(_manager)] = Field(
        default="easyalert-agent", alias="fieldManager", description="As whom the fields are owned."
    )
    wait: bool = Field(default=False, description="Until the rollouts of what was applied are over.")
