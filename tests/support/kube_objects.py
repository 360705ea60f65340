"""The kinds of objects a cluster has, its refusals, label selectors, and how patches change an object."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def group_version(self):
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full(self):
        return f"{self.plural}.{self.group}" if self.group else self.plural


RESOURCES = {
    (one.group, one.version, one.plural): one
    for one in (
        Resource("", "v1", "pods", "Pod"),
        Resource("", "v1", "configmaps", "ConfigMap"),
        Resource("", "v1", "namespaces", "Namespace", namespaced=False),
        Resource("apps", "v1", "deployments", "Deployment"),
        Resource("apps", "v1", "statefulsets", "StatefulSet"),
        Resource("apps", "v1", "daemonsets", "DaemonSet"),
        Resource("apps", "v1", "replicasets", "ReplicaSet"),
        Resource("apps", "v1", "controllerrevisions", "ControllerRevision"),
        Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False),
    )
}
WORKLOADS = {"deployments": "Deployment", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"}


class Status(Exception):  # noqa: N818 - the API's own name
    """An answer that is none of 2xx."""

    def __init__(self, code, reason, message, details=None):
        super().__init__(message)
        self.code, self.reason, self.message, self.details, self.headers = code, reason, message, details, {}

    def body(self):
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details or {}, "code": self.code,
        }  # fmt: skip


def resource_of(group, version, plural):
    try:
        return RESOURCES[group, version, plural]
    except KeyError:
        raise Status(404, "NotFound", "the server could not find the requested resource") from None


def partial(item):
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}


def matches(selector, labels):
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors"""
    for part in map(str.strip, filter(None, re.split(r",(?![^(]*\))", selector))):
        if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", part):
            inside = labels.get(found[1]) in [value.strip() for value in found[3].split(",")]
            fits = inside if found[2] == "in" else not inside
        elif part.startswith("!"):
            fits = part[1:] not in labels
        elif "!=" in part:
            key, value = part.split("!=")
            fits = labels.get(key) != value
        elif "=" in part:
            key, value = re.split("==?", part)
            fits = labels.get(key.strip()) == value.strip()
        else:
            fits = part in labels
        if not fits:
            return False
    return True


def merged(item, patch):
    """RFC 7396, and of the strategic one `$patch: replace`."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(item) if isinstance(item, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def json_patched(item, operations):
    """RFC 6902, of objects."""
    for operation in operations:
        *way, last = operation["path"].strip("/").split("/")
        place = item
        for key in way:
            place = place[key]
        if operation["op"] == "replace" and last not in place:
            raise Status(
                422,
                "Invalid",
                f"the server rejected our request due to an error in our request: replace operation does not apply: doc is missing key: {operation['path']}",
            )
        place[last] = operation["value"]
    return item


def leaves(tree, path=""):
    for key, value in tree.items():
        here = f"{path}.{key}"
        if isinstance(value, dict):
            yield from leaves(value, here)
        elif key not in ("owners", "status"):
            yield here, value
