"""One command at an SSH server: its output as it comes, its end as the server told it, and how it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from easyalert.errors import TargetError
from easyalert.host_key_scan import what_it_said
from easyalert.ssh_library import asyncssh
from workers.sdk.context import Context, Stopped
from workers.sdk.ssh_lines import Line, Prologue, Sudo, ending_line
from workers.sdk.ssh_session import Server
from workers.sdk.stopping import CANCEL_SHARE_S
from workers.sdk.streams import CommandStreams

_LOOK_S: Final = 0.1
_REST_S: Final = 3.0
"""After the exit status: output is over when so long none came. What a command left running may hold its pipes."""
_LAST_WORDS_S: Final = 0.3
_LAST_WORDS_OF_CANCELLED_S: Final = 0.1
"""With `CANCEL_SHARE_S` and what leaving takes, all of it is inside the patience for a cancelled job."""
_MARGIN_S: Final = 0.3
_KILL_S: Final = 2.0
"""Of that time, what SIGKILL and its look afterwards get."""
_WAIT_S: Final = 5.0
"""How much longer than the grace a timed out command's end is waited for, where the job has the time."""

ENDED: Final = "the command was ended"
TOLD: Final = "the command was told to end (SIGTERM, then SIGKILL), which was not waited for"
SIGNALLED: Final = "the command was ended by a signal of SSH; what it had started may still run"
RUNS_ON: Final = "the command could not be ended there and may still run"
NOT_RUN: Final = "no channel was opened for it, so nothing was run"
UNANSWERED: Final = "whether the command was started was not answered; it may have taken effect, or may still run"


@dataclass(frozen=True)
class End:
    """How a command came to its end, for this side."""

    exit_code: int | None = None
    signal: str | None = None
    """As `KILL`."""
    stopped: Stopped | None = None
    fate: str = ""
    """When `stopped`: what became of it."""
    started: bool = True
    """False: a line of ours never came so far as to run the command. Where nobody can know: True."""
    said: str = ""
    """What was said before that."""
    refused_password: bool = False

    @property
    def how(self) -> str:
        """What the server told, in words."""
        return f"exit code {self.exit_code}" if self.signal is None else f"SIG{self.signal}"

    @property
    def lost(self) -> bool:
        """Nobody has told how it ended (defect A1)."""
        return self.exit_code is None and self.signal is None and self.stopped is None


class _Session(asyncssh.SSHClientSession[bytes]):
    """Collects what the server says of one channel. Never raises: asyncssh would end the connection."""

    def __init__(self, line: Line, out: Callable[[bytes], None], err: Callable[[bytes], None]) -> None:
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.closed = asyncio.Event()
        self.heard = time.monotonic()
        self.asked = 0
        self.line, self._out = line, out
        self._chan: asyncssh.SSHClientChannel[bytes] | None = None
        self.prologue = Prologue(line, err, asked=self._password_wanted, ready=self._input_wanted)

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._chan = chan

    def session_started(self) -> None:
        if not self.line.ready and not self.line.prompt:
            self._input_wanted()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self.heard = time.monotonic()
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self.prologue.feed(data)
        else:
            self._out(data)

    def exit_status_received(self, status: int) -> None:
        self.exit_code = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: FBT001 - asyncssh's
        del core_dumped, msg, lang
        self.signal = signal

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.prologue.finish()
        self.closed.set()

    @property
    def opened(self) -> bool:
        """Whether there was a channel for it: from then on it may have been started."""
        return self._chan is not None

    @property
    def over(self) -> bool:
        """Closed, or ended with nothing more to come."""
        told = self.exit_code is not None or self.signal is not None
        return self.closed.is_set() or (told and time.monotonic() - self.heard > _REST_S)

    def _password_wanted(self) -> None:
        self.asked += 1
        if self.asked == 1 and self.line.password is not None:
            self._write(self.line.password.encode() + b"\n", more=True)
        else:
            self._write(b"", more=False)  # the same again would be wrong again

    def _input_wanted(self) -> None:
        self._write(self.line.stdin, more=False)

    def _write(self, data: bytes, *, more: bool) -> None:
        if self._chan is None:
            return
        with contextlib.suppress(OSError):  # it has been closed meanwhile
            if data:
                self._chan.write(data)
            if not more:
                self._chan.write_eof()


async def run(
    ctx: Context, server: Server, line: Line, streams: CommandStreams, seconds: float, sudo: Sudo | None
) -> End:
    """Run the line, feed `streams`, and end what it runs after `seconds` or when the job is cancelled.

    Raises TargetError when the server starts nothing.
    """
    session = _Session(line, streams.stdout.feed, streams.stderr.feed)
    until = time.monotonic() + seconds
    chan = await _opened(server, line, session, seconds)
    if chan is None:
        return End(stopped="timed_out", fate=UNANSWERED if session.opened else NOT_RUN)
    stopped: Stopped | None = None
    while not session.over:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.closed.wait(), _LOOK_S)
        streams.tick()
        told = session.exit_code is not None or session.signal is not None
        if ctx.cancelled() or time.monotonic() >= until:
            # its end is known, and only what it left running goes on: that is no time-out
            stopped = None if told else "cancelled" if ctx.cancelled() else "timed_out"
            break
    fate = await _ended(ctx, server, line, session, chan, sudo, stopped) if stopped else ""
    chan.close()
    session.prologue.finish()
    streams.finish()
    told = session.exit_code is not None or session.signal is not None
    said = session.prologue.said.decode("utf-8", "replace")
    return End(
        None if stopped else session.exit_code, None if stopped else session.signal, stopped, fate,
        started=session.prologue.over or not (told or line.waits), said=said, refused_password=session.asked > 1,
    )  # fmt: skip


async def _opened(
    server: Server, line: Line, session: _Session, seconds: float
) -> asyncssh.SSHClientChannel[bytes] | None:
    """None: not within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            chan, _ = await server.connection.create_session(lambda: session, line.text, encoding=None)
    except TimeoutError:
        return None
    except (asyncssh.Error, OSError) as error:
        if session.opened and server.connection.is_closed():
            raise TargetError(
                f"{server.at.where} ended the connection when the command was sent; it may have taken effect"
            ) from None
        raise TargetError(
            f"{server.at.where} does not run commands over this connection: {what_it_said(error)}; nothing was run"
        ) from None
    return chan


async def _ended(
    ctx: Context,
    server: Server,
    line: Line,
    session: _Session,
    chan: asyncssh.SSHClientChannel[Any],
    sudo: Sudo | None,
    stopped: Stopped,
) -> str:
    """Through a second channel, else by SSH's own signals; what became of the command."""
    grace = ctx.cancel_grace_s
    if stopped == "cancelled":
        patience = min(CANCEL_SHARE_S, ctx.remaining())
    else:
        patience = max(_MARGIN_S, min(grace + _WAIT_S, ctx.remaining() - _MARGIN_S))
        grace = min(grace, max(0.1, patience - _KILL_S / 2))
    until = time.monotonic() + patience
    # first with the whole tree: once SSH's signal has ended its head, nobody can tell whose the rest is
    killer = _Session(ending_line(grace, line.folder, sudo), _nothing, _nothing)
    fate = RUNS_ON
    with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + patience):
            await server.connection.create_session(lambda: killer, killer.line.text, encoding=None)
            fate = TOLD
            await killer.closed.wait()
            fate = ENDED if killer.exit_code == 0 else RUNS_ON
    if fate == RUNS_ON:
        fate = await _signalled(session, chan, until)
    with contextlib.suppress(TimeoutError):
        last = _LAST_WORDS_OF_CANCELLED_S if stopped == "cancelled" else _LAST_WORDS_S
        await asyncio.wait_for(session.closed.wait(), min(last, max(0.0, ctx.remaining() - _MARGIN_S)))
    return fate


async def _signalled(session: _Session, chan: asyncssh.SSHClientChannel[Any], until: float) -> str:
    """Where there is no second channel, or no shell: what SSH's own signals do, if the server passes them on."""
    for signal in ("TERM", "KILL"):
        left = (until - time.monotonic()) / 2
        if session.closed.is_set() or (left <= 0 and signal == "KILL"):
            break
        with contextlib.suppress(OSError, asyncssh.Error):
            chan.send_signal(signal)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(session.closed.wait(), max(0.0, left))
    told = session.exit_code is not None or session.signal is not None
    return SIGNALLED if told else RUNS_ON


def _nothing(_: bytes) -> None:
    """Nobody reads that."""
