"""Rollouts of deployments, stateful sets and daemon sets: restart, undo, and how far they are, as kubectl has them."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from easyalert.errors import TargetError
from workers.sdk.kubernetes_answers import ApiError, status_error
from workers.sdk.kubernetes_client import Cluster, read_object

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
PAGE: Final = 250
_PAGES: Final = 80
_LOOK_S: Final = 2.0
_AGAIN_S: Final = 0.2
_LINE_MAX_BYTES: Final = 8_388_608
_REVISION: Final = "deployment.kubernetes.io/revision"
_KEPT_BY_DEPLOYMENT: Final = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "deployment.kubernetes.io/revision-history",
        "deployment.kubernetes.io/desired-replicas",
        "deployment.kubernetes.io/max-replicas",
        "deprecated.deployment.rollback.to",
    }
)
"""Annotations that an undo leaves as the deployment has them."""


class Refused(Exception):  # noqa: N818 - not a failure of the cluster: what was asked for makes no sense there
    """It cannot be done, and the sentence says why."""


@dataclass(frozen=True)
class Kind:
    """One kind of workload."""

    plural: str
    singular: str
    status: Callable[[dict[str, Any]], tuple[str, bool]]

    def path(self, namespace: str, name: str) -> str:
        """Of one object."""
        return f"/apis/apps/v1/namespaces/{namespace}/{self.plural}/{name}"

    def titled(self, name: str) -> str:
        """As kubectl names it: `deployment.apps/web`."""
        return f"{self.singular}.apps/{name}"


def restart(cluster: Cluster, kind: Kind, namespace: str, name: str) -> str:
    """Raises Refused for a paused deployment, and what `Cluster.call` does."""
    path = kind.path(namespace, name)
    if _spec(cluster.get(path)).get("paused"):
        raise Refused(f'{kind.plural}.apps "{name}" can\'t be restarted: it is paused (run rollout resume first)')
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {"kubectl.kubernetes.io/restartedAt": now}
    cluster.call(
        "PATCH", path, body={"spec": {"template": {"metadata": {"annotations": annotations}}}},
        content_type=STRATEGIC, repeat=False,
    )  # fmt: skip
    return f"{kind.titled(name)} restarted"


def scale(cluster: Cluster, kind: Kind, namespace: str, name: str, replicas: int) -> str:
    """Raises what `Cluster.call` does. The number is absolute: repeating it is harmless."""
    path = f"{kind.path(namespace, name)}/scale"
    cluster.call("PATCH", path, body={"spec": {"replicas": replicas}}, content_type=MERGE, repeat=True)
    return f"{kind.titled(name)} scaled"


def undo(cluster: Cluster, kind: Kind, namespace: str, name: str, revision: int) -> str:
    """To `revision`, 0: the one before the present. Raises Refused where there is none, and as `Cluster.call`."""
    path = kind.path(namespace, name)
    current = cluster.get(path)
    if _spec(current).get("paused"):
        raise Refused(f'you cannot rollback a paused deployment; resume "{name}" first and try again')
    by_deployment = kind is DEPLOYMENT
    source = "replicasets" if by_deployment else "controllerrevisions"
    selector = _selector_text(_spec(current).get("selector"))
    owned = [
        (number, item)
        for item in listed(cluster, f"/apis/apps/v1/namespaces/{namespace}/{source}", ("labelSelector", selector))
        if _owner(item) == _meta(current).get("uid")
        and (number := _revision(item, by_deployment=by_deployment)) is not None
    ]
    number, found = _chosen(sorted(owned, key=lambda each: each[0]), revision, f"{kind.singular} {name}")
    if by_deployment:
        return _undo_deployment(cluster, path, current, found, number, name)
    data = found.get("data") or {}
    template = {key: value for key, value in _spec(data).get("template", {}).items() if key != "$patch"}
    if template == _spec(current).get("template"):
        return f"{kind.titled(name)} skipped rollback (current template already matches revision {number})"
    cluster.call("PATCH", path, body=data, content_type=STRATEGIC, repeat=False)
    return f"{kind.titled(name)} rolled back"


def _undo_deployment(
    cluster: Cluster, path: str, current: dict[str, Any], found: dict[str, Any], number: int, name: str
) -> str:
    template = copy.deepcopy(_spec(found).get("template") or {})
    labels = (template.get("metadata") or {}).get("labels") or {}
    labels.pop("pod-template-hash", None)
    if template == _spec(current).get("template"):
        return f"deployment.apps/{name} skipped rollback (current template already matches revision {number})"
    own = _meta(current).get("annotations") or {}
    annotations = {key: value for key, value in own.items() if key in _KEPT_BY_DEPLOYMENT}
    others = _meta(found).get("annotations") or {}
    annotations |= {key: value for key, value in others.items() if key not in _KEPT_BY_DEPLOYMENT}
    operations = [
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace" if own else "add", "path": "/metadata/annotations", "value": annotations},
    ]
    cluster.call("PATCH", path, body=operations, content_type=JSON_PATCH, repeat=False)
    return f"deployment.apps/{name} rolled back"


def _chosen(owned: list[tuple[int, dict[str, Any]]], revision: int, what: str) -> tuple[int, dict[str, Any]]:
    if revision:
        for each in owned:
            if each[0] == revision:
                return each
        raise Refused(f"unable to find specified revision {revision} in history of {what}")
    if len(owned) < 2:
        raise Refused(f"no rollout history found for {what}: there is no revision before the present one")
    return owned[-2]


def _revision(item: dict[str, Any], *, by_deployment: bool) -> int | None:
    value = (_meta(item).get("annotations") or {}).get(_REVISION) if by_deployment else item.get("revision")
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None


def _owner(item: dict[str, Any]) -> str | None:
    owners = _meta(item).get("ownerReferences") or []
    return next((owner.get("uid") for owner in owners if owner.get("controller")), None)


def _selector_text(selector: Any) -> str:
    """A label selector as the query parameter has it."""
    selector = selector if isinstance(selector, dict) else {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for expression in selector.get("matchExpressions") or ():
        key, how, values = expression["key"], expression["operator"], ",".join(expression.get("values") or ())
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[how]
        )
    return ",".join(parts)


def listed(
    cluster: Cluster, path: str, *query: tuple[str, str], accept: str = "application/json"
) -> Iterator[dict[str, Any]]:
    """Every object of a list, page by page. A list that the server has forgotten meanwhile (410) is begun again, once.

    Raises as `Cluster.get`, and TargetError for more pages than any namespace has.
    """
    for last in (False, True):
        found: list[dict[str, Any]] = []
        after = ""
        try:
            for _ in range(_PAGES):
                more = (("continue", after),) if after else ()
                page = cluster.get(path, *query, ("limit", str(PAGE)), *more, accept=accept)
                found += page.get("items") or []
                after = (page.get("metadata") or {}).get("continue") or ""
                if not after:
                    yield from found
                    return
        except ApiError as error:
            if error.status != 410 or last:
                raise
            continue
        raise TargetError(f"the list has more than {PAGE * _PAGES} objects; give a selector")


# ---- how far it is --------------------------------------------------------------------------------------------------


def follow(cluster: Cluster, kind: Kind, namespace: str, name: str, *, wait: bool, say: Callable[[str], None]) -> bool:
    """Say how far the rollout is; with `wait`, each time that changes, until it is over. Gives whether it is.

    Raises Refused for a rollout that has failed, and as `Cluster.get`.
    """
    told = ""
    while True:
        # a stream that ends, or whose place the server has forgotten (410), is begun again from the present state
        for state in _states(cluster, kind, namespace, name) if wait else [cluster.get(kind.path(namespace, name))]:
            sentence, over = kind.status(state)
            if sentence != told:
                say(told := sentence)
            if over or not wait:
                return over


def _states(cluster: Cluster, kind: Kind, namespace: str, name: str) -> Iterator[dict[str, Any]]:
    """The object now, and after each change, as long as the server tells them in one stream.

    Begun at the version of a list, for that of the object itself may be too old to be watched from. Who may not list or
    watch, looks at the object every other second.
    https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
    """
    folder, only = f"/apis/apps/v1/namespaces/{namespace}/{kind.plural}", ("fieldSelector", f"metadata.name={name}")
    try:
        page = cluster.get(folder, only)
        items = page.get("items") or [cluster.get(kind.path(namespace, name))]
        yield items[0]
        query = (
            ("watch", "true"),
            only,
            ("resourceVersion", str(_meta(page).get("resourceVersion", ""))),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(int(cluster.remaining()) + 1)),
        )
        with cluster.streamed(folder, *query) as pieces:
            yield from _changes(cluster, kind.titled(name), pieces)
    except ApiError as error:
        if error.status == 403:
            yield cluster.get(kind.path(namespace, name))
            cluster.pause(_LOOK_S)
        elif error.status == 410:
            cluster.pause(_AGAIN_S)
        else:
            raise


def _changes(cluster: Cluster, title: str, pieces: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    for line in _lines(pieces):
        event = read_object(line, cluster.target.short_origin)
        what, item = event.get("type"), event.get("object") or {}
        if what == "ERROR":
            raise status_error(item)
        if what == "DELETED":
            raise Refused(f"{title} was deleted while its rollout was waited for")
        if what != "BOOKMARK":
            yield item


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for piece in pieces:
        held += piece
        if len(held) > _LINE_MAX_BYTES:
            raise TargetError("the cluster sent an event that is too large; given up")
        *whole, rest = held.split(b"\n")
        held = rest
        yield from (bytes(line) for line in whole if line.strip())


# The sentences are those of `kubectl rollout status`.


def _deployment(item: dict[str, Any]) -> tuple[str, bool]:
    spec, status, name = _spec(item), item.get("status") or {}, _meta(item).get("name")
    if _meta(item).get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for deployment spec update to be observed...", False
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            raise Refused(f'deployment "{name}" exceeded its progress deadline')
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    waiting = f'Waiting for deployment "{name}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new replicas have been updated...", False
    if status.get("replicas", 0) > updated:
        return f"{waiting}{status['replicas'] - updated} old replicas are pending termination...", False
    if status.get("availableReplicas", 0) < updated:
        return f"{waiting}{status.get('availableReplicas', 0)} of {updated} updated replicas are available...", False
    return f'deployment "{name}" successfully rolled out', True


def _stateful_set(item: dict[str, Any]) -> tuple[str, bool]:
    spec, status = _spec(item), item.get("status") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        raise Refused("rollout status is only available for the RollingUpdate strategy of a stateful set")
    if not status.get("observedGeneration") or _meta(item).get("generation", 0) > status["observedGeneration"]:
        return "Waiting for statefulset spec update to be observed...", False
    wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    if status.get("readyReplicas", 0) < wanted:
        return f"Waiting for {wanted - status.get('readyReplicas', 0)} pods to be ready...", False
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        if updated < wanted - partition:
            waiting = "Waiting for partitioned roll out to finish: "
            return f"{waiting}{updated} out of {wanted - partition} new pods have been updated...", False
        return f"partitioned roll out complete: {updated} new pods have been updated...", True
    revision = status.get("updateRevision")
    if revision != status.get("currentRevision"):
        return f"waiting for statefulset rolling update to complete {updated} pods at revision {revision}...", False
    return (
        f"statefulset rolling update complete {status.get('currentReplicas', 0)} pods at revision {revision}...",
        True,
    )


def _daemon_set(item: dict[str, Any]) -> tuple[str, bool]:
    status, name = item.get("status") or {}, _meta(item).get("name")
    if (_spec(item).get("updateStrategy") or {}).get("type", "RollingUpdate") != "RollingUpdate":
        raise Refused("rollout status is only available for the RollingUpdate strategy of a daemon set")
    if _meta(item).get("generation", 0) > status.get("observedGeneration", 0):
        return "Waiting for daemon set spec update to be observed...", False
    wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
    waiting = f'Waiting for daemon set "{name}" rollout to finish: '
    if updated < wanted:
        return f"{waiting}{updated} out of {wanted} new pods have been updated...", False
    if status.get("numberAvailable", 0) < wanted:
        return f"{waiting}{status.get('numberAvailable', 0)} of {wanted} updated pods are available...", False
    return f'daemon set "{name}" successfully rolled out', True


DEPLOYMENT: Final = Kind("deployments", "deployment", _deployment)
STATEFUL_SET: Final = Kind("statefulsets", "statefulset", _stateful_set)
DAEMON_SET: Final = Kind("daemonsets", "daemonset", _daemon_set)


def _spec(item: dict[str, Any]) -> dict[str, Any]:
    spec = item.get("spec")
    return spec if isinstance(spec, dict) else {}


def _meta(item: dict[str, Any]) -> dict[str, Any]:
    meta = item.get("metadata")
    return meta if isinstance(meta, dict) else {}
