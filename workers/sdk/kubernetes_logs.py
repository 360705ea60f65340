"""Logs of pods: which pods, and their text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from easyalert.errors import EasyAlertError, InvalidParameter, JobError
from workers.sdk.context import Context
from workers.sdk.kubernetes_answers import ApiError
from workers.sdk.kubernetes_client import Cluster
from workers.sdk.kubernetes_parameters import LogParameters
from workers.sdk.kubernetes_rollout import listed
from workers.sdk.output import BoundedOutput
from workers.trees import MARK_VARIABLE

PODS_MAX: Final = 10
AT_ONCE: Final = 5
_NAMES_ONLY: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_CPU_S: Final = 2
_WALL_S: Final = 10.0
_MEMORY_BYTES: Final = 268_435_456

_MATCHER: Final = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, ({_CPU_S}, {_CPU_S}))
resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
asked = json.load(sys.stdin)
try:
    search = re.compile(asked["pattern"]).search
except (re.error, OverflowError, RecursionError):
    sys.exit(3)
json.dump([name for name in asked["names"] if search(name)], sys.stdout)
"""
"""Python's regular expressions may take for ever (defect B5) and cannot be interrupted, so they run in a process that
can be: with a limit of time and memory, and with nothing of the agent's in it."""


def matching(ctx: Context, cluster: Cluster, namespace: str, *, pattern: str | None, selector: str | None) -> list[str]:
    """Names of the pods that `pattern` or `selector` chooses, 1 to 10 of them (contract 3.4), in alphabetical order.

    Raises InvalidParameter for a pattern that is none or takes too long, JobError for none or too many.
    """
    query = (("labelSelector", selector),) if selector else ()
    pods = listed(cluster, f"/api/v1/namespaces/{namespace}/pods", *query, accept=_NAMES_ONLY)
    names = sorted(pod["metadata"]["name"] for pod in pods)
    chosen = _matched(ctx, pattern, names) if pattern is not None else names
    how = "podPattern" if pattern is not None else "selector"
    if not chosen:
        raise JobError(f"no pod in namespace {namespace} matches '{how}' (of {len(names)} pods)")
    if len(chosen) > PODS_MAX:
        raise JobError(
            f"'{how}' matches {len(chosen)} pods in namespace {namespace}; at most {PODS_MAX} are read, narrow it"
        )
    return chosen


def _matched(ctx: Context, pattern: str, names: list[str]) -> list[str]:
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _MATCHER],
            input=json.dumps({"pattern": pattern, "names": names}).encode(),
            capture_output=True,
            timeout=min(_WALL_S, max(0.1, ctx.remaining())),
            env={MARK_VARIABLE: ctx.mark},
            check=False,
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is not None and done.returncode == 3:
        raise InvalidParameter("podPattern", "is no regular expression")
    if done is None or done.returncode:
        raise InvalidParameter("podPattern", "takes too long on these pods' names; use a simpler one")
    found: list[str] = json.loads(done.stdout)
    return found


def read_log(
    cluster: Cluster,
    namespace: str,
    pod: str,
    asked: LogParameters,
    feed: Callable[[bytes], None],
    note: Callable[[str], None],
) -> None:
    """Feed the pod's log as it comes. Raises as `Cluster.get`; what came before a cut has been fed by then."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
    container = asked.container
    if container is None:
        container, others = _default_container(cluster.get(path))
        if others:
            note(f'Defaulted container "{container}" out of: {", ".join(others)}')
    query = [("container", container)] if container else []
    if asked.tail_lines is not None:
        query.append(("tailLines", str(asked.tail_lines)))
    if asked.since_seconds:  # zero means everything, and the API takes none
        query.append(("sinceSeconds", str(asked.since_seconds)))
    if asked.previous:
        query.append(("previous", "true"))
    with cluster.streamed(f"{path}/log", *query) as pieces:
        for piece in pieces:
            feed(piece)


def _default_container(pod: dict[str, Any]) -> tuple[str | None, list[str]]:
    """As kubectl: the annotated one, else the first. With all names, when there are several."""
    spec, meta = pod.get("spec") or {}, pod.get("metadata") or {}
    names = [one["name"] for one in spec.get("containers") or ()]
    everything = names + [one["name"] for one in spec.get("initContainers") or ()]
    wanted = (meta.get("annotations") or {}).get(_DEFAULT_CONTAINER)
    chosen = wanted if wanted in everything else names[0] if names else None
    return chosen, everything if len(everything) > 1 and wanted not in everything else []


def read_logs(
    ctx: Context, cluster: Cluster, namespace: str, pods: list[str], asked: LogParameters
) -> list[dict[str, Any]]:
    """`[{"name": …, "logs": …, "error": …}, …]` in the order of `pods`, five at once. Raises Ended only."""

    def one(pod: str) -> dict[str, Any]:
        kept, stream = BoundedOutput(), ctx.redactor.stream()
        problem = None
        try:
            read_log(cluster, namespace, pod, asked, lambda piece: kept.feed(stream.feed(piece)), lambda _: None)
        except (ApiError, EasyAlertError) as error:
            problem = error.sentence if isinstance(error, ApiError) else str(error)
        kept.feed(stream.finish())
        return {"name": pod, "logs": kept.text(), "error": problem}

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="kubernetes-log") as pool:
        return list(pool.map(one, pods))
