"""What a cluster holds, and how it changes: objects with versions, patches, field owners."""

import copy
import json
import threading

import yaml

from tests.support.kube_controllers import Controllers
from tests.support.kube_objects import WORKLOADS, Status, json_patched, leaves, merged


class State(Controllers):
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
