"""Services of the agent's own host, and its restart (contract 3.5). Linux only: the agent itself runs nowhere else.

With systemd by `systemctl`, with OpenRC by `rc-service` (stopping and asking only: a daemon that OpenRC starts is the
caller's process, and ends with the job). No shell is involved, and nothing else but `shutdown` is run.

Beyond the contract: what came of it is looked at, so a service that ends right after its start is an error; the
output also has `unit`, `loadState`, `activeState`, `subState`, `mainPid`, `since`, `result`, and after a failure
`journal`, the service's last lines where the agent's account may read them. `os.status` asks and changes nothing.

Other than in the contract: `approved` has to be JSON's `true`; units that are no services (targets, mounts, slices, …,
and those that suspend, halt or restart the host) are refused, because `startService reboot.target` would go around
`ALLOW_OS_RESTART`; a restart without delay is one in a minute, so that its result leaves the host first.

An agent that does not run as root needs rights from the host's owner: deploy/os/50-easyalert-agent.rules is polkit's
file for it. In a container there is nothing to manage: run the agent on the host.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from easyalert.errors import AgentFault, Fault
from workers.processes import ProcessEnd, run_process
from workers.sdk import Context, Executor, ExecutorResult, Parameters, action, failure, success
from workers.sdk.context import Silent
from workers.sdk.parameters import Limited
from workers.sdk.programs import account_name, environment_for, search_path, system_program
from workers.sdk.services import Ended, Manager, Run, ServiceName, Unit, Verb, denied, outcome, undecided
from workers.sdk.services_openrc import OpenRC
from workers.sdk.services_systemd import Systemd

DEFAULT_TIMEOUT_S: Final = 60.0
RESTART_TIMEOUT_S: Final = 30.0
DELAY_MAX_S: Final = 86_400
_SETTLE_LOOK_S: Final = 0.25
_LAST_LOOK_S: Final = 2.0
"""What asking how things are may take after the action itself had no more time."""
_RIGHTS: Final = (
    "deploy/os/50-easyalert-agent.rules gives it the right with polkit, for the units named there; or run it as root"
)
_CONTAINER: Final = "in a container there is nothing to manage: run the agent on the host itself"


@dataclass(frozen=True)
class Host:
    """Where things are on this machine."""

    path: str | None = None
    """Where programs are looked for; None: on the agent's PATH and in the system's folders."""
    systemd: Path = Path("/run/systemd/system")
    """There when systemd runs the machine (sd_booted(3))."""
    settle_s: float = 2.0
    """How long a service has to stay up after its start."""


class ServiceParameters(Limited):
    """Of all actions on services."""

    service_name: ServiceName = Field(
        alias="serviceName", description="The service; with systemd also a socket, timer or path by its whole name."
    )


class RestartParameters(Parameters):
    """Of `restartOS`."""

    approved: Any = Field(description="Has to be `true`, the JSON value: somebody has agreed to the restart.")
    delay_seconds: Any = Field(
        default=0,
        alias="delaySeconds",
        description=f"Until the restart, at most {DELAY_MAX_S}; rounded up to whole minutes, at least one."
        " Negative or no number: 0.",
    )

    @field_validator("approved")
    @classmethod
    def _approved(cls, value: Any) -> Any:
        if value is not True:
            raise ValueError("must be true, the JSON value, and no text or number")
        return value

    @field_validator("delay_seconds")
    @classmethod
    def _delay(cls, value: Any) -> int:
        try:
            seconds = 0 if isinstance(value, bool) else int(value)
        except OverflowError:  # infinity
            seconds = DELAY_MAX_S + 1
        except (ValueError, TypeError):
            seconds = 0
        if seconds > DELAY_MAX_S:
            raise ValueError(f"must be at most {DELAY_MAX_S} seconds")
        return max(0, seconds)


class Os(Executor):
    """Services and the restart. Nothing but the question is idempotent (a second restart is a second outage)."""

    kind = "os"

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or Host()

    @action("startService", idempotent=False)
    async def start(self, ctx: Context, params: ServiceParameters) -> ExecutorResult:
        """Start a service and see that it stays up."""
        return await self._change(ctx, "start", params)

    @action("stopService", idempotent=False)
    async def stop(self, ctx: Context, params: ServiceParameters) -> ExecutorResult:
        """Stop a service and see that it is down."""
        return await self._change(ctx, "stop", params)

    @action("restartService", idempotent=False)
    async def restart(self, ctx: Context, params: ServiceParameters) -> ExecutorResult:
        """Restart a service and see that it stays up; one that was down is started."""
        return await self._change(ctx, "restart", params)

    @action("status", idempotent=True)
    async def status(self, ctx: Context, params: ServiceParameters) -> ExecutorResult:
        """Say how a service is, with its last lines where they may be read."""
        manager = self._manager()
        run = _Runs(ctx, params.seconds(DEFAULT_TIMEOUT_S), live=False)
        unit = manager.look(params.service_name, run)
        refusal = manager.refusal(None, unit)
        if refusal is not None:
            return failure(refusal, output=_output(unit), exit_code=1, fault=Fault.JOB)
        return success(_output(unit, stdout=manager.log(unit, run) or unit.state))

    @action("restartOS", idempotent=False)
    async def restart_os(self, ctx: Context, params: RestartParameters) -> ExecutorResult:
        """Restart this host, if its owner has allowed that (`ALLOW_OS_RESTART`), a minute from now or later."""
        if not ctx.allow_os_restart:
            return failure(
                "this agent does not restart its host: its owner can allow that with ALLOW_OS_RESTART=true",
                exit_code=-1,
                fault=Fault.JOB,
            )
        program = system_program("shutdown", self._host.path)
        if program is None:
            raise AgentFault(f"this agent's host has no 'shutdown'; {_CONTAINER}")
        # not "now": the result has to reach the control plane before the network goes
        minutes = max(1, math.ceil(params.delay_seconds / 60))
        end = _Runs(ctx, RESTART_TIMEOUT_S)([program, "-r", f"+{minutes}"])
        stdout, stderr = end.texts
        output = {"stdout": stdout, "stderr": stderr, "restartsInSeconds": minutes * 60}
        if end.stopped:
            return _given_up(
                end,
                output,
                _limit(ctx, RESTART_TIMEOUT_S),
                "the restart may be scheduled all the same; `shutdown -c` takes it back",
            )
        if end.exit_code != 0:
            return _failed("shutdown", "restart its host", end, output)
        return success(output)

    async def _change(self, ctx: Context, verb: Verb, params: ServiceParameters) -> ExecutorResult:
        manager, limit = self._manager(), params.seconds(DEFAULT_TIMEOUT_S)
        run, look = _Runs(ctx, limit), _Runs(ctx, limit, live=False)
        before = manager.look(params.service_name, look)
        refusal = manager.refusal(verb, before)
        if refusal is not None:
            return failure(refusal, output=_output(before), exit_code=1, fault=Fault.JOB)
        end = manager.act(verb, params.service_name, run)
        last = _Runs(ctx, _LAST_LOOK_S, live=False, beyond=True)
        if end.stopped:
            unit = manager.look(params.service_name, last)
            goes_on = f"{manager.name} may go on with it; os.status says what came of it"
            return _given_up(end, _output(unit, end), _limit(ctx, limit), f"'{unit.name}' is {unit.state}; {goes_on}")
        if end.exit_code != 0:
            unit = manager.look(params.service_name, last)
            output = _output(unit, end, journal=manager.log(unit, last))
            return _failed(f"{manager.name}: {verb} of '{unit.name}'", f"{verb} that service", end, output)
        first, unit = await self._settled(ctx, verb, params.service_name, manager, look)
        wrong = outcome(verb, first, unit)
        if wrong is not None:
            sentence = f"'{unit.name}' {wrong}; output.journal has its last lines, where they may be read"
            return failure(sentence, output=_output(unit, end, journal=manager.log(unit, last)), fault=Fault.TARGET)
        return success(_output(unit, end))

    async def _settled(self, ctx: Context, verb: Verb, service: str, manager: Manager, run: Run) -> tuple[Unit, Unit]:
        """How it is right after, and once it had time to fail; earlier when it has, or when the job has to end."""
        first = unit = manager.look(service, run)
        until = ctx.clock() + min(self._host.settle_s, max(0.0, ctx.remaining() - _LAST_LOOK_S))
        while verb != "stop" and ctx.clock() < until and not ctx.cancelled() and outcome(verb, first, unit) is None:
            await asyncio.sleep(_SETTLE_LOOK_S)
            unit = manager.look(service, run)
        return first, unit

    def _manager(self) -> Manager:
        """Raises AgentFault where there is none."""
        systemctl = system_program("systemctl", self._host.path)
        if systemctl is not None and self._host.systemd.is_dir():
            return Systemd(systemctl)
        rc_service = system_program("rc-service", self._host.path)
        if rc_service is not None:
            return OpenRC(rc_service)
        raise AgentFault(f"this agent's host is run by neither systemd nor OpenRC; {_CONTAINER}")


class _Runs:
    """Runs programs for one action: within its own limit, which may be shorter than the job's; `beyond`: after that."""

    def __init__(self, ctx: Context, limit_s: float, *, live: bool = True, beyond: bool = False) -> None:
        deadline = ctx.clock() + limit_s
        self._ctx = ctx.narrowed(
            deadline=deadline if beyond else min(ctx.deadline, deadline),
            live=ctx.live if live else Silent(),
            cancelled=(lambda: False) if beyond else ctx.cancelled,
            wake_fd=None if beyond else ctx.wake_fd,
        )

    def __call__(self, argv: Sequence[str]) -> ProcessEnd:
        environment = environment_for(Path("/"), search_path(), account_name()) | {"LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        return run_process(self._ctx, argv, env=environment)


def _output(unit: Unit, end: Ended | None = None, *, stdout: str = "", journal: str | None = None) -> dict[str, Any]:
    out, err = end.texts if end else (stdout, "")
    return {"stdout": out, "stderr": err, **unit.wire} | ({"journal": journal} if journal else {})


def _limit(ctx: Context, seconds: float) -> str:
    return f"{min(seconds, ctx.timeout_s):g} seconds"


def _given_up(end: Ended, output: dict[str, Any], after: str, what: str) -> ExecutorResult:
    if end.stopped == "cancelled":
        return failure(f"cancelled: {what}", output=output, exit_code=-1, fault=None, outcome="cancelled")
    return failure(
        f"timed out after {after}: {what}", output=output, exit_code=-1, fault=Fault.TARGET, outcome="timed_out"
    )


def _failed(what: str, right: str, end: Ended, output: dict[str, Any]) -> ExecutorResult:
    """One sentence; the whole text is in the output (defect A18)."""
    if denied(output["stderr"] + output["stdout"]):
        return failure(
            f"the account '{account_name()}' of this agent may not {right}: {_RIGHTS}",
            output=output, exit_code=end.exit_code, fault=Fault.AGENT,
        )  # fmt: skip
    if undecided(output["stderr"]):
        return failure(
            f"this agent's host did not answer whether '{account_name()}' may {right}: is polkit installed and running"
            f" there? {_RIGHTS}",
            output=output, exit_code=end.exit_code, fault=Fault.AGENT,
        )  # fmt: skip
    said = output["stderr"].strip().partition("\n")[0] or output["stdout"].strip().partition("\n")[0]
    sentence = f"{what} failed (exit code {end.exit_code})" + (f": {said}" if said else "")
    return failure(sentence, output=output, exit_code=end.exit_code, fault=Fault.TARGET)
