"""A PowerShell text on a Windows host: a shell is made, `powershell.exe` runs in it, its output is fetched, it ends.

This is the protocol's text-based command shell (MS-WSMV 3.1.4), not PowerShell's remoting of objects: a job gets
the two streams and the exit code. A text goes to `powershell.exe -EncodedCommand`, so that no shell between reads it.
cmd.exe, which starts it, takes 8,191 characters; a longer text goes to its standard input, in base64 for the sake of
code pages, and a few lines of PowerShell run it from there.

Should the agent die, the host ends the shell by itself: nobody asks for its output any more (`IDLE_S`).
"""

from __future__ import annotations

import base64
import copy
import threading
from collections.abc import Callable
from typing import Final

from pypsrp.shell import CommandState, SignalCode, WinRS

from easyalert.errors import EasyAlertError, TargetError
from workers.sdk.blocking import Ended
from workers.sdk.context import Context
from workers.sdk.winrm_connection import WinrmConnection
from workers.sdk.winrm_session import WinrmSession, WsmanFault
from workers.sdk.winrm_text import ConsoleText, ErrorText

IDLE_S: Final = 180
NOTHING_YET: Final = 2150858793
"""The fault of a Receive for which there was no output within OperationTimeout."""
SHELL_IS_GONE: Final = 2150858843
_TIDY_S: Final = 3
_LINE_MAX_CHARS: Final = 8_000
_STDIN_LINE_CHARS: Final = 1_000
_OPTIONS: Final = ("-NoProfile", "-NonInteractive", "-EncodedCommand")
# The last statement's success is asked for inside the text, as -EncodedCommand does; a text that ends in named blocks
# (begin, process, end) takes no statement after them.
_FROM_STDIN: Final = (
    "$__t=[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String(-join @($input)));"
    'try{$__s=[ScriptBlock]::Create($__t+"`nif(-not `$?){exit 1}")}catch{$__s=[ScriptBlock]::Create($__t)}'
    ". $__s"
)

Feed = Callable[[bytes], None]


def command_line(text: str) -> tuple[list[str], bytes]:
    """Arguments for `powershell.exe` that run `text`, and what its standard input needs for that."""
    arguments = [*_OPTIONS, _encoded(text)]
    if sum(map(len, arguments)) < _LINE_MAX_CHARS:
        return arguments, b""
    packed = base64.b64encode(text.encode())
    lines = (packed[at : at + _STDIN_LINE_CHARS] for at in range(0, len(packed), _STDIN_LINE_CHARS))
    return [*_OPTIONS, _encoded(_FROM_STDIN)], b"".join(line + b"\r\n" for line in lines)


def _signed(code: int | None) -> int | None:
    """As Windows has it, 32 bits with a sign; some write them without. None for what is no exit code."""
    if code is None or not -(2**31) <= code < 2**32:
        return None
    return code - 2**32 if code >= 2**31 else code


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-le")).decode()


class RemoteCommand:
    """One of them. It says how far it has come, to whoever has to end it."""

    def __init__(self, text: str, connection: WinrmConnection, stdout: Feed, stderr: Feed) -> None:
        """`stdout` and `stderr` get UTF-8, in the thread, under `lock`."""
        self.asked = False
        """The host was asked to run it, and may have begun."""
        self.over = False
        """The host has said that it ended."""
        self.exit_code: int | None = None
        """As the host said it; None too when it ended without one."""
        self.lock = threading.Lock()
        self._text = text
        self._codepage = connection.codepage
        self._feeds = {"stdout": stdout, "stderr": stderr}
        self._console = {name: ConsoleText(connection.codepage) for name in self._feeds}
        self._errors = ErrorText()
        self._shell: WinRS | None = None
        self._id: str | None = None

    def run(self, session: WinrmSession) -> None:
        """To its end. Raises as `WinrmSession.call`; then `asked` says whether there is something to end."""
        wsman, call = session.wsman, session.call
        shell = WinRS(wsman, codepage=self._codepage, idle_time_out=IDLE_S)
        call(shell.open)
        self._shell = shell
        arguments, stdin = command_line(self._text)
        self.asked = True
        answer = call(lambda: shell.command("powershell.exe", arguments))
        self._id = answer.findtext(".//{*}CommandId")
        if not self._id:
            raise TargetError(f"{session.where} did not say which command it started")
        for at in range(0, len(stdin), wsman.max_payload_size):
            piece = stdin[at : at + wsman.max_payload_size]
            end = at + wsman.max_payload_size >= len(stdin)
            call(lambda piece=piece, end=end: shell.send("stdin", piece, self._id, end=end))  # type: ignore[misc]
        while not self.over:
            try:
                state, code, streams = call(lambda: shell.receive("stdout stderr", self._id))
            except WsmanFault as fault:
                if fault.code != NOTHING_YET:
                    raise
                continue
            self._take(streams)
            self.over, self.exit_code = state == CommandState.DONE, _signed(code)
        self._told_to_end(session)

    def finish(self) -> None:
        """Let go what waited for more."""
        self._take({"stdout": b"", "stderr": b""}, final=True)

    def _take(self, streams: dict[str, bytes], *, final: bool = False) -> None:
        with self.lock:
            for name, data in streams.items():
                if name in self._feeds:
                    text = self._console[name].feed(data, final=final)
                    said = self._errors.feed(text, final=final) if name == "stderr" else text
                    self._feeds[name](said.encode("utf-8", "replace"))

    # ---- its end ----------------------------------------------------------------------------------------------------

    async def end(self, ctx: Context, connection: WinrmConnection, limit_s: float) -> bool:
        """End it on the host, over a connection of its own, within `limit_s`. True: the host has said so."""
        if self._shell is None or limit_s <= 0:
            return False
        session = WinrmSession(ctx, connection, limit_s, while_cancelled=True)
        try:
            return await session.run(lambda: self._told_to_end(session))
        except (EasyAlertError, Ended):
            return False

    def _told_to_end(self, session: WinrmSession) -> bool:
        """Signal, then delete the shell, with which all that runs in it ends (MS-WSMV 3.1.4.4.1)."""
        if self._shell is None:
            return False
        # its result may be waiting for this
        session.wsman.operation_timeout = session.wsman.transport.read_timeout = _TIDY_S
        shell, told = copy.copy(self._shell), False
        shell.wsman = session.wsman
        steps: list[Callable[[], object]] = [shell.close]
        if self._id:
            command = self._id
            steps.insert(0, lambda: shell.signal(SignalCode.TERMINATE, command))
        for step in steps:
            try:
                session.call(step)
                told = True
            except WsmanFault as fault:
                told = told or fault.code == SHELL_IS_GONE
            except (EasyAlertError, Ended):
                break
        return told
