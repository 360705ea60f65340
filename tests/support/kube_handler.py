"""How the API server of `tests.support.kube_api` answers: paths, reviews, pages, watches and logs."""

import base64
import contextlib
import json
import re
import ssl
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.kube_objects import RESOURCES, Status, matches, partial, resource_of

SCOPED = re.compile(r"/(?:api/(v1)|apis/([^/]+)/([^/]+))(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?(?:/([a-z]+))?")


class KubeServer(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        request.settimeout(60)
        try:
            # here, in the connection's own thread: a client that does not shake hands must not hold the others up
            wrapped = self.tls.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with contextlib.closing(wrapped), contextlib.suppress(OSError, ValueError):  # the client has gone
            self.RequestHandlerClass(wrapped, client_address, self)


class KubeHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_):
        """Nothing."""

    def finish(self):
        for file in (self.wfile, self.rfile):  # both, also when the client has gone: else the socket stays open
            with contextlib.suppress(OSError, ValueError):
                file.close()

    def handle_any(self):
        api = self.server.api
        split = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        api.seen.append({
            "method": self.command, "path": split.path, "query": self.query, "body": self.body,
            "headers": {key.lower(): value for key, value in self.headers.items()},
        })  # fmt: skip
        try:
            self.faulty(split.path)
            self.route(urllib.parse.unquote(split.path))
        except Status as status:
            self.answer(status.code, status.body(), status.headers)
        except _Answered:
            pass

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - the base class names them

    def faulty(self, path):
        for fault in self.server.api.faults:
            method, pattern, times, status, headers, body = fault
            asked = "WATCH" if self.query.get("watch") == "true" else self.command
            if method == asked and pattern.search(path) and times > 0:
                fault[2] -= 1
                if callable(body):
                    body(self)
                    raise _Answered
                if body is not None:
                    self.answer(status.code, body, headers)
                    raise _Answered
                status.headers = headers
                raise status

    def route(self, path):
        user = self.user()
        if path == "/version":
            return self.answer(200, {"major": "1", "minor": "32", "gitVersion": "v1.32.4"})
        if path in ("/api", "/apis"):
            return self.groups(path)
        if path.endswith("/selfsubjectreviews") and not self.server.api.old:
            self.may(user, "create", "authentication.k8s.io", "selfsubjectreviews", None, None)
            return self.answer(201, {"kind": "SelfSubjectReview", "status": {"userInfo": {"username": user}}})
        if path.endswith("/selfsubjectaccessreviews"):
            self.may(user, "create", "authorization.k8s.io", "selfsubjectaccessreviews", None, None)
            wanted = json.loads(self.body)["spec"]["resourceAttributes"]
            name = "/".join(filter(None, (wanted["resource"], wanted.get("subresource"))))
            allowed = (wanted["verb"], name) not in self.server.api.denied
            return self.answer(201, {"kind": "SelfSubjectAccessReview", "status": {"allowed": allowed}})
        discovered = re.fullmatch(r"/(?:api/(v1)|apis/([^/]+)/([^/]+))", path)
        if discovered:
            return self.discovery("" if discovered[1] else discovered[2], discovered[1] or discovered[3])
        scoped = SCOPED.fullmatch(path)
        if not scoped:
            raise Status(404, "NotFound", "the server could not find the requested resource")
        core, group, version, space, plural, name, sub = scoped.groups()
        found = resource_of(group or "", core or version, plural)
        return self.resource(user, found, space, name, sub)

    def groups(self, path):
        if path == "/api":
            return self.answer(200, {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        versions = sorted({(one.group, one.version) for one in RESOURCES.values() if one.group})
        named = [({"groupVersion": f"{group}/{version}", "version": version}, group) for group, version in versions]
        groups = [{"name": group, "versions": [version], "preferredVersion": version} for version, group in named]
        return self.answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})

    def discovery(self, group, version):
        found = [one for one in RESOURCES.values() if (one.group, one.version) == (group, version)]
        if not found:
            raise Status(404, "NotFound", "the server could not find the requested resource")
        resources = [
            {
                "name": one.plural,
                "kind": one.kind,
                "singularName": one.kind.lower(),
                "namespaced": one.namespaced,
                "verbs": ["get", "list", "watch", "patch", "delete"],
            }
            for one in found
        ]
        resources.append(
            {"name": f"{found[0].plural}/status", "kind": found[0].kind, "namespaced": True, "verbs": ["get"]}
        )
        self.answer(200, {"kind": "APIResourceList", "groupVersion": found[0].group_version, "resources": resources})

    # ---- who, and may they ------------------------------------------------------------------------------------------

    def user(self):
        given = self.headers.get("Authorization")
        if given:
            kind, _, token = given.partition(" ")
            user = self.server.api.tokens.get(token if kind == "Bearer" else given)
            if user is None:
                raise Status(401, "Unauthorized", "Unauthorized")
            return self.headers.get("Impersonate-User") or user
        certificate = self.connection.getpeercert()
        if certificate:
            return dict(part[0] for part in certificate["subject"])["commonName"]
        return "system:anonymous"

    def may(self, user, verb, group, resource, space, name):
        if user != "system:anonymous" and (verb, resource) not in self.server.api.denied:
            return
        plural, _, sub = resource.partition("/")
        full = f"{plural}.{group}" if group else plural
        where = f' in the namespace "{space}"' if space else " at the cluster scope"
        named = f'{full} "{name}"' if name else full
        what = f"{plural}/{sub}" if sub else plural
        raise Status(
            403, "Forbidden",
            f'{named} is forbidden: User "{user}" cannot {verb} resource "{what}" in API group "{group}"{where}',
        )  # fmt: skip

    # ---- objects ----------------------------------------------------------------------------------------------------

    def resource(self, user, kind, space, name, sub):
        watching = self.query.get("watch") == "true"
        verb = {"PATCH": "patch", "DELETE": "delete", "POST": "create", "PUT": "update"}.get(
            self.command, "get" if name else "watch" if watching else "list"
        )
        self.may(user, verb, kind.group, f"{kind.plural}/{sub}" if sub else kind.plural, space, name)
        state = self.server.api.state
        if sub == "log":
            return self.log(state.get(kind, space, name), space, name)
        if verb == "watch":
            return self.watch(kind, space)
        if verb == "list":
            return self.answer(200, self.page(kind, space))
        if verb == "get":
            return self.answer(200, state.scale(kind, space, name) if sub == "scale" else state.get(kind, space, name))
        if verb == "delete":
            grace = self.query.get("gracePeriodSeconds")
            return self.answer(200, state.delete(kind, space, name, None if grace is None else int(grace)))
        if verb == "patch":
            code, item = state.patch(
                kind, space, name, sub, self.headers.get("Content-Type", ""), self.body, self.query
            )
            return self.answer(code, item)
        raise Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")

    def page(self, kind, space):
        state = self.server.api.state
        items = [
            item for item in state.all(kind, space)
            if matches(self.query.get("labelSelector", ""), (item["metadata"].get("labels") or {}))
        ]  # fmt: skip
        if "fieldSelector" in self.query:
            items = [
                item for item in items if f"metadata.name={item['metadata']['name']}" == self.query["fieldSelector"]
            ]
        start = 0
        if "continue" in self.query:
            start = int(base64.b64decode(self.query["continue"]))
        limit = int(self.query.get("limit") or 0) or len(items)
        meta = {"resourceVersion": str(state.version)}
        if start + limit < len(items):
            meta |= {
                "continue": base64.b64encode(str(start + limit).encode()).decode(),
                "remainingItemCount": len(items) - start - limit,
            }
        if "as=PartialObjectMetadataList" in self.headers.get("Accept", ""):
            shown = [partial(item) for item in items[start : start + limit]]
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": meta,
                "items": shown,
            }
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.group_version,
            "metadata": meta,
            "items": items[start : start + limit],
        }

    # ---- streams ----------------------------------------------------------------------------------------------------

    def begin(self, content_type):
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data):
        if data:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()

    def end(self):
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def watch(self, kind, space):
        api, state = self.server.api, self.server.api.state
        name = self.query.get("fieldSelector", "").removeprefix("metadata.name=")
        seen = int(self.query.get("resourceVersion") or 0)
        until = time.monotonic() + float(self.query.get("timeoutSeconds", 30))
        self.begin("application/json")
        api.held.append(("watch", name))
        while time.monotonic() < until and not api.over.is_set():
            with state.changed:
                if seen < state.oldest:
                    gone = Status(410, "Expired", f"too old resource version: {seen} ({state.oldest})").body()
                    self.piece(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
                    break
                news = [
                    event
                    for event in state.events
                    if event[0] > seen and event[1] == (kind.plural, space) and event[3]["metadata"]["name"] == name
                ]
                if not news:
                    state.changed.wait(0.1)
            if not news and self.query.get("allowWatchBookmarks") == "true":
                mark = {
                    "kind": kind.kind,
                    "apiVersion": kind.group_version,
                    "metadata": {"resourceVersion": str(state.version)},
                }
                self.piece(json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n")
            for number, _, what, item in news:
                seen = number
                line = json.dumps({"type": what, "object": item}).encode() + b"\n"
                self.piece(line[:40])  # an event may come in pieces
                self.piece(line[40:])
        self.end()

    def log(self, pod, space, name):
        names = [one["name"] for one in pod["spec"]["containers"]]
        container = self.query.get("container")
        if container is None and len(names) > 1:
            raise Status(
                400,
                "BadRequest",
                f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]",
            )
        container = container or names[0]
        if container not in names:
            raise Status(400, "BadRequest", f"container {container} is not valid for pod {name}")
        if self.query.get("sinceSeconds") == "0":
            raise Status(
                422, "Invalid", 'PodLogOptions "" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0'
            )
        told = self.server.api.state.logs[space, name, container]
        if callable(told):
            return told(self)
        if "tailLines" in self.query:
            count = int(self.query["tailLines"])
            told = b"".join(told.splitlines(keepends=True)[-count:]) if count else b""
        self.begin("text/plain")
        for at in range(0, len(told), 30_000):
            self.piece(told[at : at + 30_000])
        self.end()
        return None

    def answer(self, code, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()


class _Answered(Exception):  # noqa: N818 - not an error
    """It has been."""
