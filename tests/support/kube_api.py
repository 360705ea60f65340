"""A Kubernetes API server on a socket, made from the published API and not from any client.

https://kubernetes.io/docs/reference/using-api/api-concepts/ and
https://kubernetes.io/docs/reference/kubernetes-api/ : paths, `Status` bodies, pages with `continue`, watches with
bookmarks and 410, the four kinds of patches, subresources, reviews; TLS with client certificates or bearer tokens.
Rollouts advance by themselves, as controllers make them.
"""

import base64
import json
import re
import ssl
import threading

from tests.support.kube_handler import KubeHandler, KubeServer
from tests.support.kube_objects import Status
from tests.support.kube_state import State
from tests.support.tls import throwaway_authority

TOKEN = "kube-t0ken-of-the-tests"


class KubeApi:
    """`with KubeApi(folder) as api:`. `state` holds the objects; what is asked is in `seen`."""

    def __init__(self, folder, name="localhost"):
        (folder / "server").mkdir(exist_ok=True)
        (folder / "clients").mkdir(exist_ok=True)
        self.authority = throwaway_authority(folder / "server", name)
        self.clients = throwaway_authority(folder / "clients", "admin-by-certificate")
        self.state = State()
        self.tokens = {TOKEN: "system:serviceaccount:ops:agent"}
        self.denied = set()
        self.faults = []
        self.seen = []
        self.held = []
        self.over = threading.Event()
        self.old = False  # a cluster before 1.28

    def __enter__(self):
        tls = self.authority.server_context()
        tls.load_verify_locations(self.clients.root)
        tls.verify_mode = ssl.CERT_OPTIONAL
        self.server = KubeServer(("127.0.0.1", 0), KubeHandler)
        self.server.tls, self.server.api = tls, self
        self.port = self.server.server_address[1]
        self.threads = [
            threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True),
            threading.Thread(target=self._controllers, daemon=True),
        ]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        with self.state.changed:
            self.state.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def _controllers(self):
        state, over = self.state, self.over  # `fresh` starts others for the next test
        while not over.wait(0.02):
            state.tick()

    def fresh(self):
        """As new: what one test did is not seen by the next."""
        self.over.set()
        with self.state.changed:
            self.state.changed.notify_all()
        self.over = threading.Event()
        self.state = State()
        self.denied, self.faults, self.seen, self.held, self.old = set(), [], [], [], False
        threading.Thread(target=self._controllers, daemon=True).start()

    def fail(
        self,
        method,
        path,
        status,
        reason="",
        message="as the test wants it",
        times=1,
        headers=None,
        body=None,
        details=None,
    ):
        """The next `times` requests that fit get this answer."""
        self.faults.append(
            [method, re.compile(path), times, Status(status, reason, message, details), headers or {}, body]
        )

    def kubeconfig(self, *, token=TOKEN, server=None, cluster=None, user=None, **more):
        """As text. `cluster` and `user` change those parts; None as a value takes a key out."""
        of_cluster = {
            "server": server or f"https://localhost:{self.port}",
            "certificate-authority-data": base64.b64encode(self.authority.root.read_bytes()).decode(),
            **(cluster or {}),
        }
        of_user = {"token": token, **(user or {})}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {k: v for k, v in of_cluster.items() if v is not None}}],
            "users": [{"name": "u", "user": {k: v for k, v in of_user.items() if v is not None}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            **more,
        }
        return json.dumps(document, indent=1)  # JSON is YAML

    def by_certificate(self):
        """User part with a client certificate."""
        data = base64.b64encode(self.clients.chain.read_bytes()).decode()
        return {"token": None, "client-certificate-data": data, "client-key-data": data}

    def asked(self, method, path=""):
        """Requests of that method whose path holds that."""
        return [one for one in self.seen if one["method"] == method and path in one["path"]]
