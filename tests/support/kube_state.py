"""What a cluster holds, and how it changes: objects with versions, patches, field owners, and controllers of workloads."""

import copy
import hashlib
import json
import re
import threading
from dataclasses import dataclass

import yaml


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


class State:
    """All objects of the cluster. `version` is the resourceVersion of the last change."""

    def __init__(self):
        self.changed = threading.Condition(threading.RLock())
        self.version = 100
        self.oldest = 0
        self.objects = {}
        self.events = []
        self.logs = {}
        self.frozen = set()
        self.number = 0

    # ---- reading and writing ----------------------------------------------------------------------------------------

    def get(self, kind, space, name):
        with self.changed:
            try:
                return copy.deepcopy(self.objects[kind.plural, space, name])
            except KeyError:
                raise Status(
                    404, "NotFound", f'{kind.full} "{name}" not found', {"name": name, "kind": kind.plural}
                ) from None

    def all(self, kind, space):
        with self.changed:
            return [
                copy.deepcopy(item)
                for (plural, where, _), item in sorted(self.objects.items(), key=str)
                if plural == kind.plural and space in (None, where)
            ]

    def put(self, kind, space, item, what=None):
        with self.changed:
            name = item["metadata"]["name"]
            old = self.objects.get((kind.plural, space, name))
            self.version += 1
            self.number += 1
            meta = item["metadata"]
            meta.setdefault("uid", f"uid-{self.number}")
            meta["resourceVersion"] = str(self.version)
            if space:
                meta["namespace"] = space
            meta.setdefault("generation", 1)
            if old is not None and old.get("spec") != item.get("spec"):
                meta["generation"] = old["metadata"]["generation"] + 1
            item.setdefault("apiVersion", kind.group_version)
            item.setdefault("kind", kind.kind)
            self.objects[kind.plural, space, name] = item
            self.events.append(
                (self.version, (kind.plural, space), what or ("MODIFIED" if old else "ADDED"), copy.deepcopy(item))
            )
            self.changed.notify_all()
            return copy.deepcopy(item)

    def remove(self, kind, space, name):
        with self.changed:
            item = self.objects.pop((kind.plural, space, name))
            self.version += 1
            self.events.append((self.version, (kind.plural, space), "DELETED", item))
            self.changed.notify_all()

    def forget(self):
        """As etcd after a compaction: changes up to now cannot be watched any more."""
        with self.changed:
            self.version += 1
            self.oldest = self.version
            self.changed.notify_all()

    def delete(self, kind, space, name, grace):
        with self.changed:
            item = self.get(kind, space, name)
            seconds = 30 if grace is None else grace
            item["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": seconds}
            if seconds:
                return self.put(kind, space, item)
            self.remove(kind, space, name)
            return item

    def scale(self, kind, space, name):
        item = self.get(kind, space, name)
        if kind.plural not in ("deployments", "statefulsets", "replicasets"):
            raise Status(404, "NotFound", "the server could not find the requested resource")
        return {
            "kind": "Scale", "apiVersion": "autoscaling/v1", "spec": {"replicas": item["spec"].get("replicas", 1)},
            "metadata": {key: item["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")},
        }  # fmt: skip

    # ---- patches ----------------------------------------------------------------------------------------------------

    def patch(self, kind, space, name, sub, content_type, body, query):
        with self.changed:
            how = content_type.partition(";")[0]
            if how == "application/apply-patch+yaml":
                return self.applied(kind, space, name, yaml.safe_load(body), query)
            item = self.get(kind, space, name)
            if sub == "scale":
                wanted = merged(self.scale(kind, space, name), json.loads(body))["spec"]["replicas"]
                if not isinstance(wanted, int) or wanted < 0:
                    raise Status(
                        422,
                        "Invalid",
                        f'Scale.autoscaling "{name}" is invalid: spec.replicas: Invalid value: {wanted}: must be greater than or equal to 0',
                    )
                item["spec"]["replicas"] = wanted
                self.put(kind, space, item)
                return 200, self.scale(kind, space, name)
            if how in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
                patch = json.loads(body)
                version = (patch.get("metadata") or {}).get("resourceVersion")
                if version and version != item["metadata"]["resourceVersion"]:
                    raise Status(
                        409,
                        "Conflict",
                        f'Operation cannot be fulfilled on {kind.full} "{name}": the object has been modified; please apply your changes to the latest version and try again',
                    )
                item = merged(item, patch)
            elif how == "application/json-patch+json":
                item = json_patched(item, json.loads(body))
            else:
                raise Status(
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, …",
                )
            return 200, self.put(kind, space, item)

    def applied(self, kind, space, name, wanted, query):
        manager = query.get("fieldManager")
        if not manager:
            raise Status(
                422,
                "Invalid",
                'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
            )
        if wanted.get("kind") != kind.kind or wanted["metadata"]["name"] != name:
            raise Status(
                400,
                "BadRequest",
                f"the name of the object ({wanted['metadata']['name']}) does not match the name on the URL ({name})",
            )
        if space and ("namespaces", None, space) not in self.objects:
            raise Status(404, "NotFound", f'namespaces "{space}" not found')
        if query.get("fieldValidation") == "Strict" and "replica" in (wanted.get("spec") or {}):
            raise Status(400, "BadRequest", 'strict decoding error: unknown field "spec.replica"')
        if kind.plural in WORKLOADS and "selector" not in (wanted.get("spec") or {}):
            raise Status(422, "Invalid", f'{kind.kind}.apps "{name}" is invalid: spec.selector: Required value')
        old = self.objects.get((kind.plural, space, name))
        owners = dict((old or {}).get("owners", {}))
        mine = dict(
            leaves({key: value for key, value in wanted.items() if key not in ("apiVersion", "kind", "metadata")})
        )
        present = dict(leaves(old or {}))
        taken = [path for path in mine if owners.get(path, manager) != manager and present.get(path) != mine[path]]
        if taken and query.get("force") != "true":
            other = owners[taken[0]]
            causes = [
                {"reason": "FieldManagerConflict", "message": f'conflict with "{other}"', "field": path}
                for path in taken
            ]
            raise Status(
                409,
                "Conflict",
                f'Apply failed with {len(taken)} conflict: conflict with "{other}": {taken[0]}',
                {"causes": causes},
            )
        item = merged(copy.deepcopy(old) if old else {}, wanted)
        item["owners"] = owners | dict.fromkeys(mine, manager)
        if old is not None and item == old:
            return 200, copy.deepcopy(old)
        if query.get("dryRun") == "All":
            return (200 if old else 201), item
        return (200 if old else 201), self.put(kind, space, item)

    # ---- controllers ------------------------------------------------------------------------------------------------

    def tick(self):
        """One step of every workload that is not frozen."""
        with self.changed:
            for (plural, space, name), item in list(self.objects.items()):
                if plural in WORKLOADS and name not in self.frozen:
                    kind = RESOURCES["apps", "v1", plural]
                    after = copy.deepcopy(item)
                    getattr(self, f"_{plural}")(after, space)
                    if after != item:
                        self.put(kind, space, after)
                elif plural == "pods" and "deletionTimestamp" in item["metadata"]:
                    self.remove(RESOURCES["", "v1", "pods"], space, name)

    def _deployments(self, item, space):
        spec, status, meta = item["spec"], item.setdefault("status", {}), item["metadata"]
        number = self._revision(item, space, "replicasets")
        annotations = meta.setdefault("annotations", {})
        if annotations.get("deployment.kubernetes.io/revision") != str(number):
            annotations["deployment.kubernetes.io/revision"] = str(number)
            status |= {"updatedReplicas": 0, "availableReplicas": 0, "replicas": status.get("replicas", 0)}
        status["observedGeneration"] = meta["generation"]
        wanted, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
        old = status.get("replicas", 0) - updated
        if updated != wanted:
            updated += 1 if updated < wanted else -1
        elif status.get("availableReplicas", 0) < updated:
            status["availableReplicas"] = status.get("availableReplicas", 0) + 1
        elif old > 0:
            old -= 1
        status |= {
            "updatedReplicas": updated,
            "replicas": updated + old,
            "availableReplicas": min(status.get("availableReplicas", 0), updated),
        }

    def _statefulsets(self, item, space):
        spec, status = item["spec"], item.setdefault("status", {})
        revision = f"{item['metadata']['name']}-{self._revision(item, space, 'controllerrevisions')}"
        if status.get("updateRevision") != revision:
            status |= {"updateRevision": revision, "updatedReplicas": 0}
        status["observedGeneration"] = item["metadata"]["generation"]
        wanted = spec.get("replicas", 1)
        status["replicas"] = wanted
        if status.get("readyReplicas", 0) != wanted:
            status["readyReplicas"] = status.get("readyReplicas", 0) + (
                1 if status.get("readyReplicas", 0) < wanted else -1
            )
        elif status["updatedReplicas"] != wanted:
            status["updatedReplicas"] += 1 if status["updatedReplicas"] < wanted else -1
        else:
            status |= {"currentRevision": revision, "currentReplicas": wanted}

    def _daemonsets(self, item, space):
        status = item.setdefault("status", {})
        number = self._revision(item, space, "controllerrevisions")
        if status.get("number") != number:
            status |= {"number": number, "updatedNumberScheduled": 0, "numberAvailable": 0, "desiredNumberScheduled": 2}
        status["observedGeneration"] = item["metadata"]["generation"]
        if status["updatedNumberScheduled"] < 2:
            status["updatedNumberScheduled"] += 1
        elif status["numberAvailable"] < 2:
            status["numberAvailable"] += 1

    def _revision(self, item, space, source):
        """The number of the present template; a template that was there before gets a new one."""
        kind = RESOURCES["apps", "v1", source]
        meta, template = item["metadata"], item["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        name = f"{meta['name']}-{digest}"
        own = [one for one in self.all(kind, space) if one["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]]
        numbers = {one["metadata"]["name"]: number_of(one) for one in own}
        highest = max(numbers.values(), default=0)
        if numbers.get(name) == highest and highest:
            return highest
        made = {
            "metadata": {
                "name": name, "labels": {**item["spec"]["selector"]["matchLabels"], "hash": digest},
                "ownerReferences": [{"kind": item["kind"], "name": meta["name"], "uid": meta["uid"], "controller": True}],
            },
        }  # fmt: skip
        if source == "replicasets":
            labelled = copy.deepcopy(template)
            labelled.setdefault("metadata", {}).setdefault("labels", {})["pod-template-hash"] = digest
            made["spec"] = {"replicas": 0, "selector": item["spec"]["selector"], "template": labelled}
            cause = (meta.get("annotations") or {}).get("kubernetes.io/change-cause")
            made["metadata"]["annotations"] = {
                "deployment.kubernetes.io/revision": str(highest + 1),
                **({"kubernetes.io/change-cause": cause} if cause else {}),
            }
        else:
            made |= {
                "revision": highest + 1,
                "data": {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}},
            }
        self.put(kind, space, made)
        return highest + 1


def number_of(item):
    return item.get("revision") or int(item["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


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
