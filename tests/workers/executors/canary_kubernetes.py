"""The canary case of `kubernetes`: a cluster whose answers, logs and events repeat the token that it was sent."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.canaries.case import Case, Job, Secret
from tests.support.kube_api import KubeApi
from tests.support.kube_case import KubeCase

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: VALUE}\n"


@contextmanager
def canary(secret: Secret) -> Iterator[Case]:
    """Token, password and key; in a log, a refusal, a stream that breaks off."""
    with tempfile.TemporaryDirectory() as folder, KubeApi(Path(folder)) as api:
        yield _case(secret, api, KubeCase(api, Path(folder)))


def _told(handler: Any) -> str:
    return str(handler.headers.get("Authorization", "")).partition(" ")[2]


def _case(secret: Secret, api: KubeApi, kube: KubeCase) -> Case:
    def token(label: str) -> dict[str, Any]:
        made = secret.plain(f"kubernetes token, {label}")
        api.tokens[made] = f"user of {label}"
        return {"kubeconfig": api.kubeconfig(token=made), "note": secret(f"kubernetes unused field, {label}")}

    def echo(handler: Any) -> None:
        handler.begin("text/plain")
        for byte in f"before {_told(handler)} after\n".encode():
            handler.piece(bytes([byte]))
        handler.end()

    def cut(handler: Any) -> None:
        handler.begin("text/plain")
        handler.piece(_told(handler).encode())
        handler.close_connection = True

    def hang(handler: Any) -> None:
        handler.begin("text/plain")
        handler.piece(f"{_told(handler)}\n".encode())
        api.held.append(_told(handler))
        api.over.wait(60)

    def refuse(handler: Any) -> None:
        told = _told(handler)
        body = {"kind": "Status", "status": "Failure", "message": f"no {told}", "reason": told, "code": 403}
        handler.answer(403, body, {"X-Seen": told, "Warning": f'299 - "{told}"'})

    for name, log in (("echo", echo), ("cut", cut), ("hang", hang)):
        kube.pod(name)
        kube.state.logs["default", name, "main"] = log
    kube.workload()
    api.fail("DELETE", "pods/refused", 403, body=refuse, times=99)
    wrong = {"kubeconfig": api.kubeconfig(token=secret.plain("kubernetes token nobody knows"))}
    elsewhere = {
        "kubeconfig": api.kubeconfig(token=secret.plain("kubernetes token, closed port"), server="https://127.0.0.1:1")
    }
    broken = {
        "kubeconfig": api.kubeconfig(
            token=secret.plain("kubernetes token, no TLS name"), server=f"https://127.0.0.1:{api.port}"
        )
    }
    programs = {"kubeconfig": api.kubeconfig(user={"exec": {"command": "id", "args": [secret("kubernetes exec")]}})}
    return Case(
        (
            Job("kubernetes.getLogs", {"pod": "echo"}, token("log")),
            Job("kubernetes.getLogs", {"podPattern": "^echo$"}, token("logs")),
            Job("kubernetes.getLogs", {"pod": "cut"}, token("cut"), ends="error"),
            Job("kubernetes.deletePod", {"pod": "refused"}, token("refusal"), ends="error"),
            Job("kubernetes.testConnection", {}, token("test"), redacts=False),
            Job("kubernetes.restartDeployment", {"deployment": "web", "wait": True}, token("rollout"), redacts=False),
            Job("kubernetes.testConnection", {}, wrong, ends="error", redacts=False),
            Job("kubernetes.testConnection", {}, elsewhere, ends="error", redacts=False),
            Job("kubernetes.testConnection", {}, broken, ends="error", redacts=False),
            Job("kubernetes.testConnection", {}, programs, ends="error", redacts=False),
            Job(
                "kubernetes.applyManifest",
                {"manifest": MAP.replace("VALUE", secret.sent("manifest"))},
                token("manifest"),
                redacts=False,
            ),
        ),
        Job("kubernetes.getLogs", {"pod": "hang"}, token("hanging")),
        lambda: len(api.held),
    )
