"""Actions that this agent's owner has added: `custom.NAME` runs the executable NAME in `CUSTOM_ACTIONS_DIR`.

On standard input it gets one JSON object: `action`, `jobId`, `connectionId`, `timeoutSeconds`, `params`, and
`credential` (the vault's entry) if its manifest says `needsCredential = true`. `params` are those that the manifest
declares, checked; without a declaration all of the job's. The connection's configuration (`connectionConfig`) is never
among them.

What it writes to standard output is the result: JSON becomes `output.result`; anything else `output.stdout`, with a
note. Standard error is its log, followed while it runs, and `output.stderr`. Exit code 0 is success. Any other is an
error, whose sentence is `error` of the JSON object, if it has one, else the last line of standard error.

It runs as scripts do, in a private folder that is its working directory and home, kept from the agent's files by
`SCRIPT_ISOLATION` and within `SCRIPT_MAX_…`: it is the owner's program, but the job's author chooses its input, and a
mistake in how it reads that must not open the vault. `isolated = false` in the manifest takes that away, for programs
that need sudo or the agent's own files. On a time-out or a cancel all that it has started is ended.

The manifest, `NAME.toml`, is optional, and so is everything in it:

    description = "Empties the cache of one site."
    idempotent = true              # it may run twice without harm; false if not said
    needsCredential = false
    timeout = 60                   # seconds; the job's own limit ends it too
    isolated = true
    [parameters.site]              # type: string, integer, number, boolean, list, object
    type = "string"
    required = true
    description = "Its name."

`easyalert-agent actions` lists what there is, and why something is not used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, create_model

from easyalert.custom_actions import CustomAction, Declared, custom_action, custom_actions
from easyalert.errors import AgentFault, Fault, InvalidParameter
from workers.job_folders import WORK, job_folder
from workers.processes import ProcessEnd, run_process
from workers.sdk import ActionSpec, Context, Executor, ExecutorResult, Parameters, failure, success
from workers.sdk.context import Live
from workers.sdk.executor import OwnersActions
from workers.sdk.programs import account_name, environment_for, search_path

_CONFIGURATION: Final = frozenset({"connectionConfig", "connection_config"})
_TYPES: Final[Mapping[str, Any]] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "list": list[Any], "object": dict[str, Any],
}  # fmt: skip
_NOTE: Final = "what it wrote to standard output is no JSON"


class Anything(Parameters):
    """Of an action whose manifest declares none: whatever the job has."""

    model_config = ConfigDict(extra="allow")


class Custom(OwnersActions, Executor):
    """One instance reads the folder anew for each job: actions come and go without a restart."""

    kind = "custom"

    def spec(self, name: str) -> ActionSpec:
        """Raises UnknownAction, AgentFault."""
        return _spec(custom_action(self.folder, name))

    def declared(self) -> dict[str, ActionSpec]:
        """Of those that can be run."""
        try:
            return {found.name: _spec(found) for found in custom_actions(self.folder)[0]}
        except AgentFault:
            return {}


def _spec(found: CustomAction) -> ActionSpec:
    async def handler(_: Executor, ctx: Context, params: Parameters) -> ExecutorResult:
        return _run(ctx, found, params)

    handler.__doc__ = found.manifest.description or f"Runs {found.program}."
    return ActionSpec(found.name, _model(found), found.manifest.idempotent, handler)


def _model(found: CustomAction) -> type[Parameters]:
    """Field names are made up: a parameter may be called as a method of pydantic's is."""
    if found.manifest.parameters is None:
        return Anything
    fields: dict[str, Any] = {
        f"p{number}": _field(name, declared)
        for number, (name, declared) in enumerate(found.manifest.parameters.items())
    }
    return create_model("Declared", __base__=Parameters, **fields)


def _field(name: str, declared: Declared) -> tuple[Any, Any]:
    kind = _TYPES[declared.type]
    about = Field(alias=name, description=declared.description or "Not described.")
    if declared.required:
        return kind, about
    return kind | None, Field(default=None, alias=name, description=about.description)


def _run(ctx: Context, found: CustomAction, params: Parameters) -> ExecutorResult:
    credential = ctx.require_credential() if found.manifest.needs_credential else None
    part = ctx.narrowed(live=_ErrorsOnly(ctx.live), deadline=_deadline(ctx, found))
    data = _input(part, found, params, credential)
    if found.manifest.isolated:
        ctx.isolation.require()
        if (hidden := ctx.isolation.hides(found.program)) is not None:
            raise AgentFault(
                f"{ctx.action_type} was not run: it is in {hidden}, which scripts of this agent do not see; move"
                " CUSTOM_ACTIONS_DIR elsewhere, or write isolated = false into its manifest"
            )
    with job_folder(ctx) as folder:
        path = search_path()
        environment = environment_for(folder / WORK, path, _account(ctx, found))
        end = run_process(
            part, [str(found.program)], env=environment, cwd=folder / WORK,
            folder=folder if found.manifest.isolated else None, stdin=data,
        )  # fmt: skip
    limit_s = min(ctx.timeout_s, found.manifest.timeout or ctx.timeout_s)
    return _result(found, end, limit_s)


def _account(ctx: Context, found: CustomAction) -> str:
    return (ctx.isolation.name if found.manifest.isolated else None) or account_name()


def _deadline(ctx: Context, found: CustomAction) -> float:
    limit = found.manifest.timeout
    return ctx.deadline if limit is None else min(ctx.deadline, ctx.clock() + limit)


def _input(ctx: Context, found: CustomAction, params: Parameters, credential: dict[str, Any] | None) -> bytes:
    """Raises InvalidParameter when it cannot be written as JSON in UTF-8."""
    given = params.model_dump(by_alias=True, exclude_none=True)
    told: dict[str, Any] = {
        "action": ctx.action_type,
        "jobId": ctx.job_id,
        "connectionId": ctx.connection_id,
        "timeoutSeconds": int(ctx.remaining()),
        "params": {name: value for name, value in given.items() if name not in _CONFIGURATION},
    }
    if found.manifest.needs_credential:
        told["credential"] = credential
    try:
        return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # lone surrogates, NaN, endless nesting
        raise InvalidParameter("params", "hold what cannot be written as JSON") from None


def _result(found: CustomAction, end: ProcessEnd, limit_s: float) -> ExecutorResult:
    output, value = _output(end)
    if end.stopped == "timed_out":
        sentence = f"timed out after {limit_s:g} seconds; {found.name} and all it had started were ended"
        return failure(sentence, output=output, exit_code=-1, fault=Fault.JOB, outcome="timed_out")
    if end.stopped == "cancelled":
        sentence = f"cancelled: {found.name} and all it had started were ended"
        return failure(sentence, output=output, exit_code=-1, fault=None, outcome="cancelled")
    if end.stopped == "overgrown":
        sentence = f"{found.name} had more processes than this agent allows (SCRIPT_MAX_PROCESSES); they were ended"
        return failure(sentence, output=output, exit_code=-1, fault=Fault.JOB)
    if end.exit_code == 0:
        return success(output)
    return failure(_sentence(found, end, value), output=output, exit_code=end.exit_code, fault=Fault.TARGET)


def _sentence(found: CustomAction, end: ProcessEnd, value: Any) -> str:
    if end.limit and end.exit_code < 0:
        return end.limit
    said = value.get("error") if isinstance(value, dict) else None
    if isinstance(said, str) and said.strip():
        return said
    lines = end.stderr.text().split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing on standard error")
    how = f"ended by {end.signal_name}" if end.signal_name else f"exit code {end.exit_code}"
    return f"{found.name}: {how}: {last}"


def _output(end: ProcessEnd) -> tuple[dict[str, Any], Any]:
    """The output, and the JSON value in it."""
    output: dict[str, Any] = end.output
    text = output.pop("stdout")
    value = None
    if text.strip():
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {"result": None, "stdout": text, "note": _NOTE, **output}, None
    return {"result": value, **output}, value


class _ErrorsOnly:
    """Standard output is the result, and nothing to follow."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        if stream == "stderr":
            self._live.feed(stream, data)

    def wait(self) -> float | None:
        return self._live.wait()

    def tick(self) -> None:
        self._live.tick()
