"""What tests of the kubernetes executor share: a cluster with something in it, and running one action on it."""

from tests.support.kube_api import TOKEN
from tests.support.kube_objects import RESOURCES
from workers.executors.kubernetes import Kubernetes
from workers.sdk.harness import Harness

KIND = {one.plural: one for one in RESOURCES.values()}
LABELS = {"app": "web"}


def template(image):
    return {"metadata": {"labels": dict(LABELS)}, "spec": {"containers": [{"name": "web", "image": image}]}}


def workload(name, image="web:1", replicas=3, **spec):
    return {
        "metadata": {"name": name, "annotations": {"kept": "no", "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": dict(LABELS)}, "template": template(image), "updateStrategy": {"type": "RollingUpdate"}, **spec},
    }  # fmt: skip


class KubeCase:
    """A cluster and a place for files."""

    def __init__(self, api, tmp_path):
        self.api = api
        self.tmp_path = tmp_path
        self.state = api.state
        for space in ("default", "prod"):
            self.state.put(KIND["namespaces"], None, {"metadata": {"name": space}})

    def workload(self, plural="deployments", name="web", images=("web:1",), space="default", **more):
        """There, with a revision for each image, rolled out."""
        for image in images:
            old = self.state.objects.get((plural, space, name))
            item = {**(old or {}), **workload(name, image, **more)} if old is None else None
            if item is None:
                item = self.state.get(KIND[plural], space, name)
                item["spec"]["template"] = template(image)
            self.state.put(KIND[plural], space, item)
            for _ in range(40):
                self.state.tick()
        return self.now(plural, name, space)

    def pod(self, name, log=b"", space="default", labels=None, containers=("main",), annotations=None):
        meta = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
        self.state.put(
            KIND["pods"], space, {"metadata": meta, "spec": {"containers": [{"name": one} for one in containers]}}
        )
        for container in containers:
            self.state.logs[space, name, container] = log

    def now(self, plural="deployments", name="web", space="default"):
        return self.state.get(KIND[plural], space, name)

    def harness(self, credential=None, **options):
        entry = {"kubeconfig": self.api.kubeconfig()} if credential is None else credential
        return Harness(Kubernetes(), self.tmp_path, credential=entry, **options)

    def run(self, action, params=None, credential=None, *, timeout_s=30, **options):
        return self.harness(credential, **options).run(action, params or {}, timeout_s=timeout_s)

    def good(self, action, params=None, credential=None, **options):
        """The output of a success."""
        ran = self.run(action, params, credential, **options)
        assert (ran.recorded["status"], ran.recorded["exitCode"], ran.error) == ("success", 0, ""), ran.recorded
        assert TOKEN not in str(ran.recorded)
        return ran.recorded["output"]

    def bad(self, action, params=None, credential=None, *, code=1, **options):
        """The record of a failure."""
        ran = self.run(action, params, credential, **options)
        assert (ran.recorded["status"], ran.recorded["exitCode"]) == ("error", code), ran.recorded
        assert TOKEN not in str(ran.recorded)
        assert 0 < len(ran.error) <= 500
        return ran.recorded
