"""PowerShell on Windows hosts over WinRM: `winrm.executeCommand`, `winrm.executeScript` (contract 3.11).

Both run their text with `powershell.exe` (no profile, no questions), and give its two streams and its exit code; other
than 0 is an error. What PowerShell writes to stderr as XML comes as the text it stands for. `codepage` is that of the
remote console; 65001, UTF-8, if the connection says nothing.

**Encryption.** With `useSsl` the certificate is verified, against the machine's trusted roots or `caCertificate` (many
agents do not do that). Over HTTP the messages of `ntlm` are encrypted, and an answer that is not is refused; `basic`,
which cannot do that, is refused there unless the vault's entry has `allowUnencrypted: true`.

**Time-out and cancel.** The command is terminated and its shell deleted, over a connection of their own; what had been
printed is kept. Where the host cannot be reached for that, the error says that the command may run on.

**Not tried.** This was written after the published protocol and tested against a server made from it, because no
Windows host was at hand; `kerberos` has not been tried at all. A text of more than about 3,000 characters goes to
PowerShell's standard input instead of its command line; that is the part which a real host may take differently.
"""

from __future__ import annotations

import time
from typing import Any, Final

from pydantic import Field

from easyalert.errors import EasyAlertError, Fault, InvalidParameter, TargetError
from workers.sdk import BoundedOutput, Context, Executor, ExecutorResult, action, failure, read_connection, success
from workers.sdk.blocking import Ended
from workers.sdk.parameters import Limited, Text
from workers.sdk.steps import Steps
from workers.sdk.stopping import cancelled, time_for
from workers.sdk.streams import CommandStreams
from workers.sdk.winrm_command import RemoteCommand
from workers.sdk.winrm_connection import WinrmConnection
from workers.sdk.winrm_session import LoginRefused, WinrmSession

DEFAULT_TIMEOUT_S: Final = 30.0
TEST_TIMEOUT_S: Final = 15.0
TEXT_MAX_BYTES: Final = 1_048_576
_VERSION: Final = "$PSVersionTable.PSVersion.ToString()"
_VERSION_MAX_CHARS: Final = 100
_ENDING_S: Final = {"cancelled": 0.7, "timed_out": 5.0}
"""For ending the command on the host. The worker gives a cancelled job a second."""
_KEPT_S: Final = 0.1
"""Of what the job has left, for saying how it ended."""


class CommandParameters(Limited):
    """One command."""

    command: Text = Field(description="PowerShell, at most 1 MiB of UTF-8.")


class ScriptParameters(Limited):
    """One script."""

    script: Text = Field(description="PowerShell, at most 1 MiB of UTF-8.")


class ConnectionTestParameters(Limited):
    """What to try."""

    connection_config: dict[str, Any] = Field(
        default_factory=dict, alias="connectionConfig", description="The connection's configuration."
    )


class Winrm(Executor):
    """Each action makes its own connection and shell; nothing is kept between jobs."""

    kind = "winrm"
    connection = WinrmConnection

    @action("executeCommand", idempotent=False)
    async def execute_command(self, ctx: Context, params: CommandParameters) -> ExecutorResult:
        """Run a command in PowerShell."""
        return await _execute(ctx, "command", params.command, params.seconds(DEFAULT_TIMEOUT_S))

    @action("executeScript", idempotent=False)
    async def execute_script(self, ctx: Context, params: ScriptParameters) -> ExecutorResult:
        """Run a script in PowerShell; nothing is written to the host's disk."""
        return await _execute(ctx, "script", params.script, params.seconds(DEFAULT_TIMEOUT_S))

    @action("testConnection", idempotent=True)
    async def test_connection(self, ctx: Context, params: ConnectionTestParameters) -> ExecutorResult:
        """Connect, log in, have PowerShell say its version."""
        connection, limit_s = read_connection(ctx, WinrmConnection), params.seconds(TEST_TIMEOUT_S)
        session = WinrmSession(ctx, connection, time_for(ctx, limit_s))
        said, complaints = BoundedOutput(10_000), BoundedOutput(10_000)
        command = RemoteCommand(_VERSION, connection, said.feed, complaints.feed)
        output = {"host": session.host, "port": connection.on_port, "username": connection.username}

        def ended(result: ExecutorResult) -> ExecutorResult:
            result.output["steps"] = session.steps.report()
            return result

        try:
            await session.run(lambda: command.run(session))
        except Ended as end:
            fate = await _fate(ctx, command, connection, end.why)
            if end.why == "cancelled":
                return ended(cancelled(f"cancelled while {session.where} was asked; {fate}", output=output))
            seconds = min(limit_s, ctx.timeout_s)
            sentence = f"timed out after {seconds:g} seconds; {session.where} {_reached(session.steps)}"
            return ended(_timed_out(sentence, output))
        except TargetError as error:
            if isinstance(error, LoginRefused):
                session.steps.failed("login", time.monotonic() - session.since, str(error))
            elif session.logged_in:
                session.steps.failed("permission", time.monotonic() - session.since, str(error))
            await _fate(ctx, command, connection, "timed_out")
            return ended(failure(str(error), output=output, exit_code=-1))
        command.finish()
        version = said.text().strip()[:_VERSION_MAX_CHARS]
        if command.exit_code != 0 or not version:
            why = complaints.text().strip() or f"exit code {command.exit_code}"
            sentence = f"{session.where} lets {connection.username} in, but PowerShell does not run: {why}"
            session.steps.failed("permission", time.monotonic() - session.since, sentence)
            return ended(failure(sentence, output=output, exit_code=-1))
        session.steps.passed("permission", time.monotonic() - session.since, f"PowerShell {version}")
        message = f"{session.where} runs PowerShell {version} for {connection.username} ({_words(connection)})"
        return ended(success(output | {"psVersion": version, "message": message}))


def _words(connection: WinrmConnection) -> str:
    if connection.use_ssl:
        return "TLS" if connection.verify_tls else "TLS, certificate not verified"
    return "NOT encrypted" if connection.transport == "basic" else f"messages encrypted by {connection.transport}"


def _reached(steps: Steps) -> str:
    done = [entry["step"] for entry in steps.report() if entry["ok"]]
    return f"had come as far as '{done[-1]}'" if done else "was not reached"


async def _execute(ctx: Context, parameter: str, text: str, limit_s: float) -> ExecutorResult:
    """Run it. Every end is a result that holds what was printed by then; what failed before it was asked for raises."""
    if len(text.encode()) > TEXT_MAX_BYTES:
        raise InvalidParameter(parameter, f"is larger than {TEXT_MAX_BYTES} bytes")
    connection = read_connection(ctx, WinrmConnection)
    session = WinrmSession(ctx, connection, time_for(ctx, limit_s))
    streams = CommandStreams(ctx)
    command = RemoteCommand(text, connection, streams.stdout.feed, streams.stderr.feed)

    def output() -> dict[str, object]:
        command.finish()
        streams.finish()
        return streams.output

    def tick() -> None:
        with command.lock:
            streams.tick()

    try:
        await session.run(lambda: command.run(session), tick)
    except Ended as end:
        if not command.over:
            fate = await _fate(ctx, command, connection, end.why)
            if end.why == "cancelled":
                return cancelled(f"cancelled; {fate} on {session.where}", output=output())
            seconds = min(limit_s, ctx.timeout_s)
            return _timed_out(f"timed out after {seconds:g} seconds; {fate} on {session.where}", output())
    except EasyAlertError as error:
        if not command.asked:
            raise
        if not command.over:
            fate = await _fate(ctx, command, connection, "timed_out")
            return failure(f"{error}; {fate}", output=output(), exit_code=-1)
    return _result(session.where, command, output(), streams)


def _result(where: str, command: RemoteCommand, output: dict[str, object], streams: CommandStreams) -> ExecutorResult:
    code = command.exit_code
    if code == 0:
        return success(output)
    if code is None:
        sentence = f"{where} said that the command ended, but no exit code; its outcome is unknown"
        return failure(sentence, output=output, exit_code=-1)
    error = streams.stderr.kept.text().strip() or f"powershell: exit code {code}, nothing on stderr"
    return failure(error, output=output, exit_code=code, fault=Fault.JOB)


def _timed_out(sentence: str, output: object) -> ExecutorResult:
    return failure(sentence, output=output, exit_code=-1, fault=Fault.TARGET, outcome="timed_out")


async def _fate(ctx: Context, command: RemoteCommand, connection: WinrmConnection, why: str) -> str:
    """End it on the host; what became of it, without a place."""
    ended = await command.end(ctx, connection, min(_ENDING_S[why], ctx.remaining() - _KEPT_S))
    if not command.asked:
        return "the command was not started"
    return "the command was ended" if ended else "the command could not be ended and may run on"
