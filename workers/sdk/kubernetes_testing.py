"""The test of a connection to a cluster: who the credential is, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from easyalert.errors import TargetError
from workers.sdk.kubernetes_answers import ApiError
from workers.sdk.kubernetes_client import Cluster
from workers.sdk.steps import STEPS

T = TypeVar("T")

_ACTIONS: Final = {
    "restartDeployment": ("patch", "apps", "deployments", ""),
    "scaleDeployment": ("patch", "apps", "deployments", "scale"),
    "rollbackDeployment": ("list", "apps", "replicasets", ""),
    "deletePod": ("delete", "", "pods", ""),
    "getLogs": ("get", "", "pods", "log"),
}
"""Action → what it needs: verb, API group, resource, subresource."""


def examine(cluster: Cluster, namespace: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Raises ApiError and TargetError as the steps fail. Gives `message`, `version`, `user`, `permissions`.

    `/version` needs no login, so it proves none. Reviews of oneself are open to whoever is logged in
    (`system:basic-user`): https://kubernetes.io/docs/reference/access-authn-authz/authorization/
    """
    with cluster.steps.step("login") as step:
        version = _translated(lambda: _version(cluster))
        user = _translated(lambda: _who(cluster))
        step["detail"] = f"as {user}" if user else "accepted"
    with cluster.steps.step("permission") as step:
        permissions = _translated(lambda: _permissions(cluster, namespace))
        allowed = [name for name, may in permissions.items() if may]
        step["detail"] = f"in namespace {namespace}: {', '.join(allowed) or 'nothing'}"
        if not allowed:
            who = user or "the credential"
            raise TargetError(
                f"logged in as {who}, but it may do nothing of what the agent can in namespace {namespace}; "
                "the cluster's RBAC has to allow it"
            )
    place = cluster.target.short_origin
    say(f"Kubernetes control plane is running at {place}")
    message = f"{place} is Kubernetes {version}; logged in{f' as {user}' if user else ''}; {cluster.trusts()}"
    return {"message": message, "version": version, "user": user, "permissions": permissions}


def _version(cluster: Cluster) -> str:
    try:
        return str(cluster.get("/version").get("gitVersion"))
    except ApiError as error:
        if error.status == 403:  # some clusters tell it to administrators only
            return "of a version it does not tell"
        raise


def _who(cluster: Cluster) -> str | None:
    """The user's name; None where the cluster is too old to say (before 1.28)."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        told = cluster.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, repeat=True)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
    name = ((told.get("status") or {}).get("userInfo") or {}).get("username")
    return name if isinstance(name, str) else None


def _permissions(cluster: Cluster, namespace: str) -> dict[str, bool]:
    found = {}
    for name, (verb, group, resource, sub) in _ACTIONS.items():
        asked = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "subresource": sub}
        told = cluster.call(
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            body={
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": asked},
            },
            repeat=True,
        )
        found[name] = bool((told.get("status") or {}).get("allowed"))
    return found


def in_order(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As they follow on one another, each once, up to the first that failed: the connection is made by the login."""
    ordered: list[dict[str, Any]] = []
    for name in STEPS:
        found = next((step for step in steps if step["step"] == name), None)
        if found is not None:
            ordered.append(found)
            if not found["ok"]:
                break
    return ordered


def _translated(work: Callable[[], T]) -> T:
    """A step's detail shows the sentences of our own errors only."""
    try:
        return work()
    except ApiError as error:
        raise TargetError(error.sentence) from None
