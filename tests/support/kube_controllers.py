"""The controllers of workloads: each `tick` takes a rollout one step further, as a cluster's do."""

import copy
import hashlib
import json

from tests.support.kube_objects import RESOURCES, WORKLOADS


class Controllers:
    """Of a state that has `objects`, `changed`, `frozen`, `all`, `put` and `remove`."""

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
