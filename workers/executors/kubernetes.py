"""Kubernetes clusters, by their API: no kubectl is needed (contract 3.4).

**Which cluster** a job acts on is said by the kubeconfig in the vault alone: the connection's `kubeconfig`, or the file
of `kubeconfigPath`. A job without one is refused. The host's own kubeconfig, `KUBECONFIG` and the token of a service
account are never looked at. A kubeconfig that runs programs (`exec`, `auth-provider`), names files or has a `proxy-url`
is refused: embed the data, `kubectl config view --minify --flatten --raw` writes it so. Proxies of the environment are
not used. `insecure-skip-tls-verify` counts where the kubeconfig has it, and the test of the connection says so.

**Names** may hold dots, beyond the contract's rule: they are DNS subdomains in Kubernetes.

**Output** is that of kubectl: `stdout` and `stderr` with its sentences. `getLogs` of several pods has its own shape,
`applyManifest` adds `objects`.

**Time.** `timeout` (60 s) limits the action, never beyond the job's own limit. What a cluster was asked for goes on
there when the job is timed out or cancelled, and the error says so. With `wait`, the action ends when the rollout does.

**Undo** does as `kubectl rollout undo`: deployments from the revisions of their replica sets, the others from their
controller revisions; revision 0 is the one before the present.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from easyalert.errors import Fault, InvalidParameter, TargetError
from workers.sdk import Context, Executor, ExecutorResult, action, failure, success
from workers.sdk.blocking import Ended
from workers.sdk.kubernetes_answers import ApiError
from workers.sdk.kubernetes_client import Cluster
from workers.sdk.kubernetes_logs import matching, read_log, read_logs
from workers.sdk.kubernetes_manifest import Applied, Applier, read_manifest
from workers.sdk.kubernetes_parameters import (
    DEFAULT_TIMEOUT_S,
    ApplyParameters,
    ClusterParameters,
    DaemonSetParameters,
    DeletePodParameters,
    DeploymentParameters,
    KubernetesConnection,
    LogParameters,
    RollbackDaemonSetParameters,
    RollbackDeploymentParameters,
    RollbackStatefulSetParameters,
    RolloutStatusParameters,
    ScaleDeploymentParameters,
    ScaleStatefulSetParameters,
    StatefulSetParameters,
    Waiting,
    read_access,
)
from workers.sdk.kubernetes_rollout import (
    DAEMON_SET,
    DEPLOYMENT,
    STATEFUL_SET,
    Kind,
    Refused,
    follow,
    restart,
    scale,
    undo,
)
from workers.sdk.kubernetes_testing import examine, in_order
from workers.sdk.streams import CommandStreams

TIME_KEPT_S: Final = 0.4
"""Of the job's own limit: to end the connections, and say what there is."""

for _logger in ("urllib3", "kubernetes", "client"):  # theirs hold URLs, bodies and headers
    logging.getLogger(_logger).setLevel(logging.WARNING)

Change = Callable[[Cluster, str], str]


class Kubernetes(Executor):
    """Acts on clusters. Holds nothing between jobs."""

    kind = "kubernetes"
    connection = KubernetesConnection

    @action("restartDeployment", idempotent=False)
    async def restart_deployment(self, ctx: Context, params: DeploymentParameters) -> ExecutorResult:
        """Replace all pods of a deployment, a few at a time."""
        name = params.deployment
        return await _changed(ctx, params, DEPLOYMENT, name, lambda c, space: restart(c, DEPLOYMENT, space, name))

    @action("scaleDeployment", idempotent=True)
    async def scale_deployment(self, ctx: Context, params: ScaleDeploymentParameters) -> ExecutorResult:
        """Set the number of a deployment's pods."""
        name, count = params.deployment, params.replicas
        return await _changed(ctx, params, DEPLOYMENT, name, lambda c, space: scale(c, DEPLOYMENT, space, name, count))

    @action("rollbackDeployment", idempotent=False)
    async def rollback_deployment(self, ctx: Context, params: RollbackDeploymentParameters) -> ExecutorResult:
        """Bring back an earlier revision of a deployment."""
        name, to = params.deployment, params.revision
        return await _changed(ctx, params, DEPLOYMENT, name, lambda c, space: undo(c, DEPLOYMENT, space, name, to))

    @action("restartStatefulSet", idempotent=False)
    async def restart_stateful_set(self, ctx: Context, params: StatefulSetParameters) -> ExecutorResult:
        """Replace all pods of a stateful set, one at a time."""
        name = params.stateful_set
        return await _changed(ctx, params, STATEFUL_SET, name, lambda c, space: restart(c, STATEFUL_SET, space, name))

    @action("scaleStatefulSet", idempotent=True)
    async def scale_stateful_set(self, ctx: Context, params: ScaleStatefulSetParameters) -> ExecutorResult:
        """Set the number of a stateful set's pods."""
        name, count = params.stateful_set, params.replicas
        return await _changed(
            ctx, params, STATEFUL_SET, name, lambda c, space: scale(c, STATEFUL_SET, space, name, count)
        )

    @action("rollbackStatefulSet", idempotent=False)
    async def rollback_stateful_set(self, ctx: Context, params: RollbackStatefulSetParameters) -> ExecutorResult:
        """Bring back an earlier revision of a stateful set."""
        name, to = params.stateful_set, params.revision
        return await _changed(ctx, params, STATEFUL_SET, name, lambda c, space: undo(c, STATEFUL_SET, space, name, to))

    @action("restartDaemonSet", idempotent=False)
    async def restart_daemon_set(self, ctx: Context, params: DaemonSetParameters) -> ExecutorResult:
        """Replace all pods of a daemon set, a few at a time."""
        name = params.daemon_set
        return await _changed(ctx, params, DAEMON_SET, name, lambda c, space: restart(c, DAEMON_SET, space, name))

    @action("rollbackDaemonSet", idempotent=False)
    async def rollback_daemon_set(self, ctx: Context, params: RollbackDaemonSetParameters) -> ExecutorResult:
        """Bring back an earlier revision of a daemon set."""
        name, to = params.daemon_set, params.revision
        return await _changed(ctx, params, DAEMON_SET, name, lambda c, space: undo(c, DAEMON_SET, space, name, to))

    @action("rolloutStatus", idempotent=True)
    async def rollout_status(self, ctx: Context, params: RolloutStatusParameters) -> ExecutorResult:
        """Say how far a rollout is; with `wait`, until it is over. Not over is a success without `wait`."""
        given = [
            (kind, name)
            for kind, name in (
                (DEPLOYMENT, params.deployment), (STATEFUL_SET, params.stateful_set), (DAEMON_SET, params.daemon_set),
            )
            if name
        ]  # fmt: skip
        if len(given) != 1:
            raise InvalidParameter("deployment", "or 'statefulSet' or 'daemonSet' is required, exactly one of them")
        kind, name = given[0]
        run = await _Run.begin(ctx, params)

        def work() -> None:
            over = follow(run.cluster, kind, run.namespace, name, wait=params.wait, say=run.say)
            run.extra["complete"] = over

        return await run.result(work, f"the rollout of {kind.titled(name)} was watched only; it goes on")

    @action("deletePod", idempotent=False)
    async def delete_pod(self, ctx: Context, params: DeletePodParameters) -> ExecutorResult:
        """Delete one pod; whoever owns it makes another."""
        run = await _Run.begin(ctx, params)

        def work() -> None:
            query = [] if params.grace_period is None else [("gracePeriodSeconds", str(params.grace_period))]
            run.cluster.call("DELETE", f"/api/v1/namespaces/{run.namespace}/pods/{params.pod}", *query)
            run.say(f'pod "{params.pod}" deleted')

        return await run.result(work, "the pod may have been deleted")

    @action("getLogs", idempotent=True)
    async def get_logs(self, ctx: Context, params: LogParameters) -> ExecutorResult:
        """Read the log of one pod, or of those that a pattern or a selector chooses."""
        if sum(value is not None for value in (params.pod, params.pod_pattern, params.selector)) != 1:
            raise InvalidParameter("pod", "or 'podPattern' or 'selector' is required, exactly one of them")
        run = await _Run.begin(ctx, params)
        pods: list[dict[str, Any]] = []

        def one() -> None:
            read_log(run.cluster, run.namespace, params.pod or "", params, run.streams.stdout.feed, run.note)

        def several() -> None:
            names = matching(ctx, run.cluster, run.namespace, pattern=params.pod_pattern, selector=params.selector)
            pods.extend(read_logs(ctx, run.cluster, run.namespace, names, params))

        if params.pod:
            return await run.result(one, "the output holds what had come by then")
        ended = await run.result(several, "nothing was changed")
        return _multi(pods, "regex" if params.pod_pattern is not None else "selector") if pods else ended

    @action("applyManifest", idempotent=True)
    async def apply_manifest(self, ctx: Context, params: ApplyParameters) -> ExecutorResult:
        """Have the server make what a manifest describes (server-side apply), object by object."""
        items = read_manifest(params.manifest)
        run = await _Run.begin(ctx, params)
        done: list[Applied] = []

        def work() -> None:
            applier = Applier(run.cluster, run.namespace, params.field_manager, params.dry_run, params.force)
            for item in items:
                done.append(applier.apply(item, run.say))
                run.extra["objects"] = [each.report() for each in done]
            failed = [each for each in done if each.error]
            if failed:
                raise Refused(
                    f"{len(failed)} of {len(done)} objects were refused; {failed[0].title}: {failed[0].error}"
                )
            if params.wait and not params.dry_run:
                for item in items:
                    kind = _ROLLING.get(item.kind) if item.group_version == "apps/v1" else None
                    if kind:
                        follow(run.cluster, kind, item.namespace or run.namespace, item.name, wait=True, say=run.say)

        return await run.result(
            work, lambda: f"{len(done)} of {len(items)} objects were applied and stay so; repeating it is harmless"
        )

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ClusterParameters) -> ExecutorResult:
        """Reach the cluster, log in, and ask what the credential may do in the namespace."""
        run = await _Run.begin(ctx, params)
        run.extra["message"] = f"{run.cluster.target.short_origin} could not be tested"

        def work() -> None:
            run.extra |= examine(run.cluster, run.namespace, run.say)

        ended = await run.result(work, "nothing was changed")
        steps = in_order(run.cluster.steps.report())
        failed = next((step for step in steps if not step["ok"]), None)
        output = {**(ended.output or {}), "steps": steps}
        if ended.status == "success" or failed is None:
            return ExecutorResult(ended.status, output, ended.error, ended.exit_code, ended.fault, ended.outcome)
        error = f"step '{failed['step']}' failed: {ended.error}"
        output["message"] = error
        return failure(error, output=output, exit_code=ended.exit_code, fault=ended.fault, outcome=ended.outcome)


_ROLLING: Final = {"Deployment": DEPLOYMENT, "StatefulSet": STATEFUL_SET, "DaemonSet": DAEMON_SET}


class _Run:
    """One action: its cluster, and the output as it grows."""

    def __init__(self, ctx: Context, params: ClusterParameters) -> None:
        access, of_connection = read_access(ctx)
        self.ctx = ctx
        self.namespace = of_connection if params.namespace is None else params.namespace
        self.limit_s = min(params.seconds(DEFAULT_TIMEOUT_S), max(0.001, ctx.remaining() - TIME_KEPT_S))
        self._asked_s = min(params.seconds(DEFAULT_TIMEOUT_S), ctx.timeout_s)
        self.cluster = Cluster(ctx, access, self.limit_s)
        self.streams = CommandStreams(ctx)
        self.extra: dict[str, Any] = {}

    @classmethod
    async def begin(cls, ctx: Context, params: ClusterParameters) -> _Run:
        """Raises CredentialError, InvalidParameter, AddressRefused."""
        return cls(ctx, params)

    def say(self, line: str) -> None:
        """A line of kubectl's, with its line end."""
        self.streams.stdout.feed(f"{line}\n".encode("utf-8", "replace"))

    def note(self, line: str) -> None:
        """The same on stderr."""
        self.streams.stderr.feed(f"{line}\n".encode("utf-8", "replace"))

    async def result(self, work: Callable[[], None], left: str | Callable[[], str]) -> ExecutorResult:
        """Do it in a thread. `left`: what may be, or go on, at the cluster when the job ends before the work."""
        try:
            await self.cluster.run(work)
        except ApiError as error:
            return self._failed(str(error), f"{error.sentence} [{self.cluster.target.short_origin}, {self.namespace}]")
        except Refused as error:
            return self._failed(f"error: {error}", str(error))
        except TargetError as error:
            return self._failed(f"error: {error}", str(error))
        except Ended as ended:
            after = left if isinstance(left, str) else left()
            if ended.why == "cancelled":
                return self._ended(f"cancelled: {after}", fault=None, outcome="cancelled")
            return self._ended(
                f"timed out after {self._asked_s:g} seconds: {after}", fault=Fault.TARGET, outcome="timed_out"
            )
        return success(self._output())

    def _failed(self, line: str, sentence: str) -> ExecutorResult:
        self.note(line)
        return failure(sentence, output=self._output())

    def _ended(self, sentence: str, **how: Any) -> ExecutorResult:
        self.note(sentence)
        return failure(sentence, output=self._output(), exit_code=-1, **how)

    def _output(self) -> dict[str, Any]:
        self.streams.finish()
        return {**self.streams.output, **self.extra}


async def _changed(ctx: Context, params: Waiting, kind: Kind, name: str, change: Change) -> ExecutorResult:
    """Change a workload, and follow its rollout when asked to."""
    run = await _Run.begin(ctx, params)
    accepted = False

    def work() -> None:
        nonlocal accepted
        run.say(change(run.cluster, run.namespace))
        accepted = True
        if params.wait:
            follow(run.cluster, kind, run.namespace, name, wait=True, say=run.say)

    def left() -> str:
        if accepted:
            return "the cluster has accepted the change and its rollout goes on; rolloutStatus says how far it is"
        return "the change may have taken effect"

    return await run.result(work, left)


def _multi(pods: list[dict[str, Any]], mode: str) -> ExecutorResult:
    """The shape of contract 3.4 for several pods."""
    failed = [pod for pod in pods if pod["error"]]
    output = {"pods": pods, "matchedCount": len(pods), "mode": mode, "partialFailure": 0 < len(failed) < len(pods)}
    if not failed:
        return success(output)
    sentence = f"{len(failed)} of {len(pods)} logs could not be read; {failed[0]['name']}: {failed[0]['error']}"
    return failure(sentence, output=output) if len(failed) == len(pods) else success(output, error=sentence)
