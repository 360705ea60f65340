"""Running a program for a job: output as it comes, bounded and redacted; time-outs that end the whole tree.

The worker runs one job at a time and is itself the subreaper of everything the job starts, and when it dies, the pool's
parent inherits the rest and ends it. Between worker and program there is no keeper process, unless namespaces have to
have one (`workers.namespaces`).
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Literal

from easyalert.errors import AgentFault
from workers import confinement, trees
from workers.isolation import Running
from workers.sdk.context import Context
from workers.sdk.context import Stopped as AskedToStop
from workers.sdk.output import BoundedOutput, command_output
from workers.sdk.streams import OutputStream, StreamName

TERM_GRACE_S: Final = 1.0
"""Between SIGTERM and SIGKILL after a time-out; a cancelled job has its context's grace."""
_LINGER_S: Final = 0.1
"""How long output may still come from others after the program itself has ended."""
_LOOK_S: Final = 0.25
"""How often a running program's job is asked whether it was cancelled, where nothing wakes it for that."""
_CHUNK: Final = 65_536
Stopped = AskedToStop | Literal["overgrown"]
"""Why a program was ended by us; `overgrown`: it had more processes than the agent's settings allow."""


@dataclass
class ProcessEnd:
    """How a program ended. `exit_code` is negative for a signal; `stopped` says why it was ended by us."""

    exit_code: int = 0
    stopped: Stopped | None = None
    stragglers: int = 0
    """Processes that were still there after a normal end, and were killed."""
    limit: str | None = None
    """Which of the agent's limits it ran into, when that is known."""
    stdout: BoundedOutput = field(default_factory=BoundedOutput)
    stderr: BoundedOutput = field(default_factory=BoundedOutput)

    @property
    def output(self) -> dict[str, object]:
        """The shape of contract 2.3."""
        return command_output(self.stdout, self.stderr)

    @property
    def texts(self) -> tuple[str, str]:
        """Standard output and standard error."""
        return self.stdout.text(), self.stderr.text()

    @property
    def signal_name(self) -> str | None:
        """`SIGKILL`, … when a signal ended it."""
        if self.exit_code >= 0:
            return None
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.exit_code).name
        return f"signal {-self.exit_code}"


def run_process(
    ctx: Context,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    alone: bool = True,
    folder: Path | None = None,
    stdin: bytes = b"",
) -> ProcessEnd:
    """Run `argv` until it ends, the job's deadline passes or the job is cancelled. Blocks.

    The program gets exactly `env` plus the job's mark, `stdin` to read, a session of its own. What it leaves behind
    after a normal end is killed and counted, unless `alone` is False (other programs of the same job run in parallel;
    the worker then ends what is left with the job). On a stop the job's whole tree is ended: SIGTERM, then SIGKILL.
    `folder`: this is a script whose private folder it is; it runs isolated and within the agent's limits.
    Raises AgentFault when the program cannot be started.
    """
    end = ProcessEnd()
    use = _Use(ctx)
    process = _spawn(ctx, argv, env, cwd, folder, stdin)
    try:
        _Conversation(ctx, process, end).hold()
    finally:
        for pipe in (process.stdout, process.stderr):
            pipe.close()
        if process.poll() is None:  # only when something above failed: never leave it running
            confinement.mine().end()
            process.wait()
    if alone and end.stopped is None and process.leaves_others():
        end.stragglers = max(0, confinement.mine().end() - process.attendants)
    if folder is not None and end.stopped is None:
        end.limit = use.limit(end)
    return end


class _Use:
    """What the worker's children have used until now, to be compared with later."""

    def __init__(self, ctx: Context) -> None:
        self._limits = ctx.limits
        self._cpu_s = self._cpu()
        self._kills = confinement.mine().kills_for_memory()

    def limit(self, end: ProcessEnd) -> str | None:
        out_of_memory = confinement.mine().kills_for_memory() > self._kills
        used_s = self._cpu() - self._cpu_s
        return self._limits.hit(end.exit_code, used_s, end.stderr.text(), out_of_memory=out_of_memory)

    @staticmethod
    def _cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime


def _spawn(
    ctx: Context, argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, folder: Path | None, stdin: bytes
) -> Running:
    ours = confinement.mine()
    command = list(argv) if folder is None else ctx.limits.around(argv, memory_is_kept=ours.limits_memory)
    try:
        with ours.starting(), _readable(stdin) as source:
            marked = {**env, trees.MARK_VARIABLE: ctx.mark}
            return ctx.isolation.start(command, env=marked, cwd=cwd, folder=folder, stdin=source)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise AgentFault(
            f"this agent cannot run '{argv[0]}' ({error.strerror}); install it or correct the agent's PATH"
        ) from None
    except OSError as error:
        raise AgentFault(f"this agent cannot start another process ({error.strerror})") from None


@contextlib.contextmanager
def _readable(data: bytes) -> Iterator[int | None]:
    """A descriptor from which `data` can be read: memory, not a pipe, so that nobody has to feed it, and no disk."""
    if not data:
        yield None
        return
    source = os.memfd_create("stdin", os.MFD_CLOEXEC)
    try:
        with os.fdopen(source, "wb", closefd=False) as stream:
            stream.write(data)
        os.lseek(source, 0, os.SEEK_SET)
        yield source
    finally:
        os.close(source)


class _Conversation:
    """Reads both streams and watches the program's end, the deadline, and the grace after a stop."""

    def __init__(self, ctx: Context, process: Running, end: ProcessEnd) -> None:
        self._ctx = ctx
        self._process = process
        self._end = end
        self._until: float | None = None
        """Once set: when to leave, whatever is still open."""
        self._count_at = time.monotonic() + _LOOK_S
        self._watch = selectors.DefaultSelector()
        self._streams: dict[int, OutputStream] = {}
        self._add("stdout", process.stdout, end.stdout)
        self._add("stderr", process.stderr, end.stderr)

    def _add(self, name: StreamName, pipe: IO[bytes], kept: BoundedOutput) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._streams[pipe.fileno()] = OutputStream(self._ctx, name, kept)
        self._watch.register(pipe.fileno(), selectors.EVENT_READ)

    def hold(self) -> None:
        handle = self._process.handle()
        try:
            self._watch.register(handle, selectors.EVENT_READ)
            if self._ctx.wake_fd is not None:
                self._watch.register(self._ctx.wake_fd, selectors.EVENT_READ)
            self._loop(handle)
        finally:
            os.close(handle)
            self._watch.close()
        for stream in self._streams.values():
            stream.finish()
        self._end.exit_code = self._process.wait()

    def _loop(self, handle: int) -> None:
        running = True
        while running or len(self._watch.get_map()) > 0 or self._in_grace():
            for event, _ in self._watch.select(self._wait()):
                if event.fd == handle:
                    self._watch.unregister(handle)
                    running = False
                    self._process.wait()  # collected here, before anybody who reaps for the whole worker does it
                    if self._until is None:
                        self._end_after(_LINGER_S)
                elif event.fd != self._ctx.wake_fd:
                    self._read(event.fd)
            self._ctx.live.tick()
            if self._until is None:
                self._look_for_stop()
            elif time.monotonic() >= self._until or (self._end.stopped and not running and not trees.reap()):
                break
        if self._end.stopped:
            confinement.mine().end()
            self._drain()

    def _in_grace(self) -> bool:
        """After a stop: something of the job that has closed its output still lives, and may."""
        return self._end.stopped is not None and time.monotonic() < (self._until or 0.0) and trees.reap()

    def _wait(self) -> float:
        if self._until is not None:
            # after a stop the program may be gone while its descendants still use their grace
            return max(0.0, min(self._until - time.monotonic(), 0.02 if self._end.stopped else _LINGER_S))
        due = self._ctx.live.wait()
        return min(self._ctx.remaining(), _LOOK_S if due is None else min(due, _LOOK_S))

    def _look_for_stop(self) -> None:
        self._end.stopped = self._ctx.stopped()
        if self._end.stopped:
            self._end_after(self._ctx.cancel_grace_s if self._end.stopped == "cancelled" else TERM_GRACE_S)
            trees.terminate(trees.descendants(os.getpid()))
        elif (now := time.monotonic()) >= self._count_at:
            self._count_at = now + _LOOK_S
            if confinement.mine().overgrown():
                self._end.stopped = "overgrown"
                self._end_after(0.0)  # what grows like that is asked nothing

    def _end_after(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        if self._ctx.wake_fd is not None:  # nothing it could say matters any more
            self._watch.unregister(self._ctx.wake_fd)

    def _read(self, fd: int) -> bool:
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if chunk:
            self._streams[fd].feed(chunk)
        else:
            self._watch.unregister(fd)
        return bool(chunk)

    def _drain(self) -> None:
        for fd in list(self._streams):
            while fd in self._watch.get_map() and self._read(fd):
                pass
