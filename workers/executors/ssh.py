"""Commands and scripts on other hosts over SSH: `ssh.executeCommand`, `ssh.executeScript`, `ssh.testConnection` (3.1).

**Log-in.** With the vault entry's `privateKey`, else its `password`; without either the job is refused. The contract
infers that a library's defaults apply then; here keys, agents and configuration of this machine's accounts never count.

**Host keys** that count, first match wins: the file of `knownHostsPath`; any, with `strictHostKeyChecking: false`;
those the agent has pinned (docs/vault.md: `easyalert-agent vault scan-host`); `~/.ssh/known_hosts` of the agent's
account; those shown on first use, with `SSH_HOST_KEYS=tofu`. Otherwise the host is refused before anything is sent.

**Scripts** go through standard input into a folder of their own in `/tmp`, 0700 before anything is in it, and gone
afterwards, also when the connection drops; so SFTP, which the contract needs, is not. They and `sudo` need an account
whose shell is one of the family of `sh`. There is a shell around the script: one whose interpreter dies by a signal
has the exit code 128 and the signal's number, as shells have it.

**The end** is the server's word. Without an exit status nothing counts as done (defect A1): the connection or the
channel was lost, and the error says that the command may have taken effect or still run. A signal's death is -1 and
named.

**Time-out and cancelling** end the command: through a second channel, which ends all that the server's process for this
connection has started, else by SSH's signals. What could not be ended is said.

**sudo** (additive): `sudo: true`. The password is the vault entry's `sudoPassword`, written when sudo asks for it.
"""

from __future__ import annotations

import contextlib
import signal
from typing import Annotated, Final, Literal

from pydantic import Field

from easyalert.errors import CredentialError, Fault, InvalidParameter, TargetError
from workers.sdk import Context, Executor, ExecutorResult, action, failure, read_connection, success
from workers.sdk.parameters import Limited, Prose, Text
from workers.sdk.ssh_command import End, run
from workers.sdk.ssh_connection import SshConnection
from workers.sdk.ssh_lines import Line, Sudo, command_line, script_line
from workers.sdk.ssh_session import CONNECT_TIMEOUT_S, Server, logged_in
from workers.sdk.steps import Steps
from workers.sdk.stopping import cancelled, time_for, until_cancelled
from workers.sdk.streams import CommandStreams

DEFAULT_TIMEOUT_S: Final = 30.0
ECHO_TIMEOUT_S: Final = 10.0
_ECHO: Final = "echo easyalert"
_SENTENCE_MAX: Final = 200
_IN_DOUBT: Final = "it may have taken effect, or may still run there"

Interpreter = Literal[
    "/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/sh", "/usr/bin/python3", "/usr/bin/python",
    "/usr/bin/env", "/usr/bin/perl", "/usr/bin/ruby", "/usr/bin/node",
]  # fmt: skip


class RemoteParameters(Limited):
    """What both have."""

    sudo: bool = Field(default=False, description="Run it through sudo; its password is the vault's `sudoPassword`.")
    sudo_user: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")] = Field(
        default="root", alias="sudoUser", description="Whom sudo runs it as."
    )


class CommandParameters(RemoteParameters):
    """One command."""

    command: Text = Field(description="For the account's shell there.")


class RemoteScriptParameters(RemoteParameters):
    """One script."""

    script: Prose = Field(max_length=1_048_576, description="Its text, at most 1 MiB of UTF-8; may be empty.")
    interpreter: Interpreter = Field(default="/bin/bash", description="What runs it there, by its whole path.")


class ConnectionTestParameters(Limited):
    """How long to wait."""


class Ssh(Executor):
    """One connection for each job. Nothing of it but the test is idempotent: nobody can know what a command does."""

    kind = "ssh"
    connection = SshConnection

    @action("executeCommand", idempotent=False)
    async def execute_command(self, ctx: Context, params: CommandParameters) -> ExecutorResult:
        """Run one command."""
        _utf8(params.command, "command")
        connection = read_connection(ctx, SshConnection)
        sudo = _sudo(params, connection)
        return await _execute(ctx, connection, command_line(params.command, sudo), params, sudo)

    @action("executeScript", idempotent=False)
    async def execute_script(self, ctx: Context, params: RemoteScriptParameters) -> ExecutorResult:
        """Run a script with one of the usual interpreters."""
        text = _utf8(params.script, "script")
        connection = read_connection(ctx, SshConnection)
        sudo = _sudo(params, connection)
        return await _execute(ctx, connection, script_line(text, params.interpreter, sudo), params, sudo)

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Connect, check the host key, log in, run `echo`."""
        connection, steps = read_connection(ctx, SshConnection), Steps()
        output: dict[str, object] = {
            "host": connection.host, "port": connection.port, "username": connection.username,
        }  # fmt: skip

        def so_far() -> dict[str, object]:
            return {**output, "steps": steps.report()}

        try:
            seen = await until_cancelled(ctx, _look(ctx, connection, params.seconds(CONNECT_TIMEOUT_S), steps))
        except TargetError as error:
            return failure(str(error), output=so_far())
        except TimeoutError:
            sentence = f"timed out after {ctx.timeout_s} seconds; the steps say how far the test came"
            return failure(sentence, output=so_far(), exit_code=-1, outcome="timed_out")
        if seen is None:
            return cancelled("cancelled during the test", output=so_far())
        server, end = seen
        output |= {"message": _tested(server, end), "hostKey": server.host_key}
        return success(so_far())


async def _look(ctx: Context, connection: SshConnection, seconds: float, steps: Steps) -> tuple[Server, End]:
    async with logged_in(ctx, connection, seconds, steps) as server:
        with steps.step("permission", _ECHO):
            line, limit = command_line(_ECHO, None), time_for(ctx, ECHO_TIMEOUT_S)
            end = await run(ctx, server, line, CommandStreams(ctx), limit, None)
            if end.lost or end.stopped:
                raise TargetError(f"{server.at.where} took the log-in, but '{_ECHO}' came to no end there")
    return server, end


def _tested(server: Server, end: End) -> str:
    """It succeeds whatever the status (contract 3.1); but what that was is said."""
    may = "may run commands" if end.exit_code == 0 else f"'{_ECHO}' did not end well there ({end.how})"
    unchecked = "" if server.checked else "; its host key was not checked (strictHostKeyChecking is false)"
    return f"{server.at.username} is logged in at {server.at.where} and {may}{unchecked}"


def _utf8(text: str, name: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(name, "holds characters that are no text (lone surrogates)") from None
    if b"\0" in raw:
        raise InvalidParameter(name, "holds a NUL character")
    if len(raw) > 1_048_576:
        raise InvalidParameter(name, "is larger than 1048576 bytes")
    return raw


def _sudo(params: RemoteParameters, connection: SshConnection) -> Sudo | None:
    if not params.sudo:
        return None
    password = connection.sudo_password
    if password is not None and {"\n", "\r", "\0"} & set(password):
        raise CredentialError("'sudoPassword' holds a line break; sudo would take a part of it only")
    return Sudo(params.sudo_user, password)


async def _execute(
    ctx: Context, connection: SshConnection, line: Line, params: RemoteParameters, sudo: Sudo | None
) -> ExecutorResult:
    seconds = params.seconds(DEFAULT_TIMEOUT_S)
    where = connection.log_in().where
    async with contextlib.AsyncExitStack() as stack:
        entering = stack.enter_async_context(logged_in(ctx, connection, CONNECT_TIMEOUT_S, Steps()))
        try:
            server = await until_cancelled(ctx, entering)
        except TimeoutError:
            sentence = f"timed out after {ctx.timeout_s} seconds, before {where} was logged in to; nothing was run"
            return failure(sentence, exit_code=-1, fault=Fault.TARGET, outcome="timed_out")
        if server is None:
            return cancelled(f"cancelled before {where} was logged in to; nothing was run")
        streams = CommandStreams(ctx)
        limit = time_for(ctx, seconds)
        end = await run(ctx, server, line, streams, limit, sudo)
        return _result(ctx, server, end, streams, sudo, seconds)
    raise AssertionError  # the stack swallows nothing


def _result(
    ctx: Context, server: Server, end: End, streams: CommandStreams, sudo: Sudo | None, seconds: float
) -> ExecutorResult:
    output, where = streams.output, server.at.where
    if end.stopped:
        return _stopped(ctx, end, where, output, seconds)
    if end.lost:
        lost = "the connection was lost" if server.connection.is_closed() else "the server closed the channel"
        fate = f"told how the command ended; {_IN_DOUBT}" if end.started else "had started anything; nothing was run"
        return failure(
            f"{lost} before {where} {fate}",
            output=output, exit_code=-1, fault=Fault.TARGET,
        )  # fmt: skip
    if not end.started:
        return failure(_never_started(server, end, sudo), output=output, exit_code=1, fault=Fault.TARGET)
    if end.signal is not None:
        return failure(f"the command was ended by SIG{end.signal}", output=output, exit_code=-1, fault=Fault.JOB)
    if end.exit_code == 0:
        return success(output)
    code = int(end.exit_code or 0)
    error = streams.stderr.kept.text().strip() or f"exit code {code}{_as_signal(code)}, nothing on stderr"
    return failure(error, output=output, exit_code=code, fault=Fault.JOB)


def _stopped(ctx: Context, end: End, where: str, output: dict[str, object], seconds: float) -> ExecutorResult:
    if end.stopped == "cancelled":
        return cancelled(f"cancelled: {end.fate} (on {where}); what it did until then stays done", output=output)
    sentence = f"timed out after {min(seconds, ctx.timeout_s):g} seconds: {end.fate} (on {where})"
    return failure(sentence, output=output, exit_code=-1, fault=Fault.JOB, outcome="timed_out")


def _as_signal(code: int) -> str:
    """What shells mean by 128 and a number."""
    try:
        return f" (ended by {signal.Signals(code - 128).name}, as shells say it)" if code > 128 else ""
    except ValueError:
        return ""


def _never_started(server: Server, end: End, sudo: Sudo | None) -> str:
    said = " ".join(end.said.split())[:_SENTENCE_MAX] or f"exit code {end.exit_code}, nothing on stderr"
    where, who = server.at.where, server.at.username
    if sudo is None:
        return f"the script could not be put onto {where}, so nothing was run: {said}"
    if end.refused_password:
        return (
            f"sudo on {where} did not take the password, so nothing was run: check 'sudoPassword' of the vault entry "
            f"(of {who}): {said}"
        )
    if sudo.password is None and "password" in said:
        return (
            f"sudo on {where} wants the password of {who}, so nothing was run: add it as 'sudoPassword' to the "
            "connection's vault entry, or allow the command without one there"
        )
    return f"sudo on {where} did not let {who} become {sudo.user}, so nothing was run: {said}"
