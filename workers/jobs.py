"""The one function a queued RQ job may name, and what it does: gate, fence, execute, record.

`workers.jobs.run_job` is wire format: it stands in Redis.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from easyalert import crashpoints, wakeup
from easyalert.errors import AgentFault, JournalDamaged, JournalError, JournalFull, PolicyRefused
from easyalert.host_keys import AgentHostKeys, HostKey
from easyalert.journal import JobRow, Journal, State
from easyalert.journal.file import ToRecord
from easyalert.logs import hidden_in_logs
from easyalert.protocol.sealed import STORE_CREDENTIAL
from easyalert.redact import Redactor, texts_of
from easyalert.runtime import ProcessIdentity
from easyalert.spool import JobOfSpool
from workers import confinement, trees
from workers.gate import Admitted, Gate, Judged, Refused
from workers.live import LiveOutput
from workers.registry import split_action
from workers.relay import ControlPlaneRelay
from workers.sdk import Context, ExecutorResult, envelope
from workers.sdk.output import BoundedOutput, command_output
from workers.sdk.running import run_action, settled
from workers.special import SPECIAL_ACTIONS, Delivery, run_special
from workers.toolbox import Toolbox

log = logging.getLogger(__name__)

RESULT_MAX_BYTES: Final = 16 * 1024 * 1024
"""A larger output is left out of the result; the biggest legitimate one (contract 1.10, item 4) is about 10 MB."""
CUT_RESULT_CHARS: Final = 32_768
"""What is kept of a result that the disk has no space for."""
SEALED_SECRET_CHARS: Final = 4096
"""Texts of sealed parameters up to this length are redacted from what the job returns; more would cost too much."""
_RETRY_FIRST_S: Final = 0.05
_RETRY_CAP_S: Final = 2.0


@dataclass(frozen=True)
class Ended:
    """What Redis is told about a job; never its output."""

    ok: bool
    word: str
    """`success`, or why not: `error`, `timed_out`, `in_doubt`, …"""
    exit_code: int
    duration_ms: int

    @classmethod
    def of(cls, row: JobRow) -> Ended:
        """From a row that has ended."""
        result = row.result or {}
        ok = result.get("status") == "success"
        word = "success" if ok else "error" if row.outcome in {None, "finished"} else str(row.outcome)
        return cls(ok, word, int(result.get("exitCode", -1)), int(result.get("durationMs", 0)))


class JobRunner:
    """Runs jobs of the journal in this process, one at a time."""

    def __init__(
        self,
        tools: Toolbox,
        journal: Journal,
        owner: ProcessIdentity,
        *,
        announce: Callable[[JobRow, float], None] = lambda _row, _deadline: None,
        recording_waits: Callable[[], None] = lambda: None,
        cancelled_by: Callable[[str], str | None] = lambda _key: None,
        wake_fd: int | None = None,
    ) -> None:
        """`announce` is called after the fence and before the effect, with the deadline on the monotonic clock;
        `recording_waits` when the effect is over and only its result cannot be written yet. `cancelled_by` says who
        wants the job with this key ended, None: nobody; it may answer differently after `wake_fd` became readable.
        """
        self._tools = tools
        self._journal = journal
        self._owner = owner
        self._announce = announce
        self._recording_waits = recording_waits
        self._cancelled_by = cancelled_by
        self._wake_fd = wake_fd
        self._gate = Gate(tools, journal)
        settings = tools.settings
        sealed_only = settings.credential_delivery == "sealed"
        self._delivery = Delivery(settings.agent_api_url, sealed_only, tools.seals.open_credentials)
        self._loop = asyncio.Runner()

    def close(self) -> None:
        """End executors in good order."""
        self._loop.run(self._tools.registry.close())
        self._loop.close()

    def run(self, key: str) -> Ended | None:
        """Gate, start fence, effect, record. None: the row is not this process's to run.

        Raises JournalError when the fence cannot be written (nothing has happened then) or JournalDamaged.
        """
        waiting = self._journal.get(key)
        if waiting is None or waiting.state is not State.QUEUED:
            return None
        admitted = self._gate.judge(waiting)
        if isinstance(admitted, Refused):
            return self._refuse(waiting, admitted)
        row = self._journal.start(
            key, self._owner, admitted.spending, policy=admitted.policy, signature=admitted.signature
        )
        if row is None:
            return None
        began = time.monotonic()
        self._announce(row, began + row.timeout_s)
        crashpoints.reached("fenced")
        ctx = self._context(row, began, admitted)
        ctx.live = live = self._live(row)
        with hidden_in_logs(_OfContext(ctx)):
            result = self._with_who_cancelled(row, self._result(row, ctx))
        crashpoints.reached("over")
        recorded = _fitting(envelope(row.job_id, result, ctx.redactor, int((time.monotonic() - began) * 1000)))
        self._sweep(row)
        fault = None if result.fault is None or result.status == "success" else result.fault.value
        self._record(row, recorded, result, fault, _stored(row, ctx, result))
        crashpoints.reached("done")
        live.close()
        wakeup.notify(self._tools.settings.wakeup_socket)
        word = "success" if result.status == "success" else "error" if result.outcome == "finished" else result.outcome
        return Ended(result.status == "success", word, recorded["exitCode"], recorded["durationMs"])

    def ended(self, key: str) -> Ended | None:
        """How a job that cannot be started has ended, for the books in Redis; None: it waits, runs, or is unknown."""
        row = self._journal.get(key)
        waiting = (State.TAKEN, State.QUEUED, State.STARTED)
        return None if row is None or row.state in waiting else Ended.of(row)

    def _context(self, row: JobRow, began: float, admitted: Admitted) -> Context:
        settings, secrets = self._tools.settings, self._tools.secrets()
        if admitted.sealed:
            secrets += tuple(text for text in texts_of(admitted.params) if len(text) <= SEALED_SECRET_CHARS)
        judged: Judged = admitted.credential or {}

        def read_credential(connection_id: str) -> dict[str, Any] | None:
            # what the policy has judged is what runs, whatever was delivered meanwhile
            if connection_id in judged:
                return deepcopy(judged[connection_id])
            return self._tools.read_credential(connection_id)

        return Context(
            job_id=row.job_id,
            action_type=row.action,
            connection_id=row.connection_id,
            params=admitted.params,
            timeout_s=row.timeout_s,
            tmp_dir=settings.tmp_dir,
            mark=trees.job_mark(row.key, self._tools.agent),
            known_secrets=secrets,
            network_policy=self._tools.network_policy,
            allow_os_restart=settings.allow_os_restart,
            read_credential=read_credential,
            bind=self._bind,
            relay=ControlPlaneRelay(settings),
            host_keys=AgentHostKeys(settings.host_keys_path, settings.ssh_host_keys, self._pinned),
            deadline=began + row.timeout_s,
            cancelled=lambda: self._cancelled_by(row.key) is not None,
            wake_fd=self._wake_fd,
            cancel_grace_s=float(settings.cancel_grace_seconds),
            limits=self._tools.limits,
            isolation=self._tools.isolation,
        )

    def _bind(self, connection_id: str, entry: dict[str, Any], address: str) -> None:
        bound = self._journal.bind(connection_id, self._tools.entry_digest(entry), address)
        if bound.address != address:
            since = datetime.fromtimestamp(bound.at, UTC)
            raise PolicyRefused(
                f"the credential of connection '{connection_id}' has been used for {bound.address} since "
                f"{since:%Y-%m-%d} and is not sent to {address}; if it belongs there now, run on the agent: "
                f"easyalert-agent vault unbind {shlex.quote(connection_id)}"
            )

    def _pinned(self, host: str, keys: list[HostKey]) -> None:
        log.warning("the host keys of %s were pinned on first use: %s", host, ", ".join(k.fingerprint for k in keys))
        self._journal.audit_now(
            "hostKey.pinned", {"host": host, "keys": [key.fingerprint for key in keys], "by": "first use"}
        )

    def _live(self, row: JobRow) -> LiveOutput:
        settings = self._tools.settings
        job = JobOfSpool(row.job_id, row.attempt, self._owner)
        return LiveOutput(settings.output_dir, row.key, job, settings.wakeup_socket)

    def _refuse(self, row: JobRow, refused: Refused) -> Ended | None:
        result = refused.result
        recorded = envelope(row.job_id, result, Redactor(self._tools.secrets()), 0)
        fault, digest = None if result.fault is None else result.fault.value, self._tools.params_digest(row)
        if self._journal.refuse(row.key, recorded, fault, policy=refused.why, params_digest=digest):
            wakeup.notify(self._tools.settings.wakeup_socket)
        return self.ended(row.key)

    def _result(self, row: JobRow, ctx: Context) -> ExecutorResult:
        def work() -> object:
            if row.action in SPECIAL_ACTIONS:
                return run_special(ctx, self._tools.vault, self._delivery)
            kind, name = split_action(row.action)
            return run_action(self._loop, self._tools.registry.executor(kind), ctx, name)

        return settled(ctx, work)

    def _with_who_cancelled(self, row: JobRow, result: ExecutorResult) -> ExecutorResult:
        by = self._cancelled_by(row.key) if result.outcome == "cancelled" else None
        return result if by is None else replace(result, error=f"{result.error} (asked for by {by})")

    def _sweep(self, row: JobRow) -> None:
        """Nothing a job has started outlives it."""
        if trees.reap():
            left = confinement.mine().end()
            if left:
                log.warning("job %s left %d processes behind; they were killed", row.job_id, left)

    def _record(
        self, row: JobRow, recorded: dict[str, Any], result: ExecutorResult, fault: str | None, also: ToRecord | None
    ) -> None:
        """The effect has happened: try until it is written, or until the pool ends this process."""
        pause = _RETRY_FIRST_S
        end = partial(
            self._journal.finish,
            row.key,
            outcome=result.outcome,
            fault=fault,
            params_digest=self._tools.params_digest(row),
            audited=also,
        )
        while not self._recorded(end, recorded):
            if pause == _RETRY_FIRST_S:
                self._recording_waits()
            time.sleep(pause)
            pause = min(pause * 2, _RETRY_CAP_S)

    def _recorded(self, end: Callable[[dict[str, Any]], bool], recorded: dict[str, Any]) -> bool:
        try:
            if not end(recorded):
                log.warning("job %s had been ended by somebody else; this result is dropped", recorded["jobId"])
        except JournalDamaged:
            raise
        except JournalFull as error:
            small = cut(recorded)
            if small is not recorded:
                return self._recorded(end, small)
            log.warning("the result of job %s waits to be written: %s", recorded["jobId"], error)
            return False
        except JournalError:
            log.exception("the result of job %s waits to be written", recorded["jobId"])
            return False
        return True


def _stored(row: JobRow, ctx: Context, result: ExecutorResult) -> ToRecord | None:
    """A credential that a job has stored is a thing of its own in the audit record."""
    if row.action != STORE_CREDENTIAL or result.status != "success":
        return None
    return "credential.stored", {"connectionId": ctx.params.get("connectionId"), "by": f"job {row.job_id}"}


class _OfContext(Redactor):
    """Follows the context, whose redactor grows when the job's credential is read."""

    def __init__(self, ctx: Context) -> None:
        super().__init__()
        self._ctx = ctx

    def text(self, value: str) -> str:
        """`value` without the job's secrets; not counted as a redaction of the result."""
        counted = self._ctx.redactor.count
        clean = self._ctx.redactor.text(value)
        self._ctx.redactor.count = counted
        return clean


def cut(recorded: dict[str, Any]) -> dict[str, Any]:
    """The result as it fits onto a disk that is full: beginning and end of what was printed, and a sentence.

    One that is small already comes back as it is.
    """
    if _rough_size([recorded["output"], recorded["error"]]) <= CUT_RESULT_CHARS:
        return recorded
    output, note = recorded["output"], "the agent's disk was full: the output was recorded cut"
    if isinstance(output, dict) and isinstance(output.get("stdout"), str) and isinstance(output.get("stderr"), str):
        streams = {name: BoundedOutput(CUT_RESULT_CHARS // 4) for name in ("stdout", "stderr")}
        for name, kept in streams.items():
            kept.feed(output[name].encode("utf-8", "replace"))
        shorter = command_output(streams["stdout"], streams["stderr"])
        sizes = {name: output[name] for name in ("originalStdoutSize", "originalStderrSize") if name in output}
        output = {**shorter, **sizes}
    else:
        output, note = None, "the agent's disk was full: the output was left out"
    error = f"{recorded['error'][: CUT_RESULT_CHARS // 4]} ({note})" if recorded["error"] else note
    return {**recorded, "output": output, "error": error}


def _fitting(recorded: dict[str, Any]) -> dict[str, Any]:
    size = _rough_size(recorded["output"])
    if size <= RESULT_MAX_BYTES:
        return recorded
    note = f"its output ({size} characters) is larger than {RESULT_MAX_BYTES} and was left out"
    return {**recorded, "output": None, "error": recorded["error"] or note}


def _rough_size(value: Any) -> int:
    """Characters of all strings, and one per other value: within a factor of the JSON's length, and quick."""
    size, todo = 0, [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            size += len(item)
        elif isinstance(item, dict):
            todo.extend(item.keys())
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
        else:
            size += 1
    return size


_runner: JobRunner | None = None


def install(runner: JobRunner | None) -> None:
    """Make `run_job` work in this process; the pool's workers do it once, after their fork."""
    global _runner  # noqa: PLW0603 - RQ calls a plain function by name; its surroundings have to be found from there
    _runner = runner


def run_job(key: str) -> Ended | None:
    """The job function. Raises AgentFault outside the agent's own pool, for instance under a stock `rq worker`."""
    if _runner is None:
        raise AgentFault("this job runs only inside the agent's worker pool (python -I -m workers)")
    return _runner.run(key)
