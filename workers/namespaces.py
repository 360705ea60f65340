"""A program in namespaces of its own (`SCRIPT_ISOLATION=userns`): what the agent keeps does not exist in there.

The worker clones itself into new user, mount, process and IPC namespaces. The clone is process 1 in there: it hides
the agent's folders, starts the program, collects whatever is orphaned, tells the worker how the program ended, and ends
when nobody is left; when it is killed, the kernel kills everybody in there.

One clone and no exec before the program's own: a Python started anew would cost 8 ms and a further fork 2 ms, each
time. (Where the worker has other threads, it is made all the same.) So process 1 has the worker's memory, which is
closed to everybody (not dumpable, and owned by the user namespace outside), and no descriptor of it. What it does is in
`workers.namespace_keeper`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from workers.namespace_keeper import MESSAGE_MAX, Life, Sandbox, live, write

_CLONE_NEWNS: Final = 0x0002_0000
_CLONE_NEWIPC: Final = 0x0800_0000
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWPID: Final = 0x2000_0000
_NAMESPACES: Final = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC

_CLONE_PARENT: Final = 0x0000_8000

_SYS_CLONE3: Final = 435
"""The same number on every architecture (Linux 5.3)."""
_CLONE_ARGS: Final = struct.Struct("=8Q")
"""struct clone_args, version 0: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls."""
_ANSWER: Final = struct.Struct("=qi")

_START_WITHIN_S: Final = 30.0
_libc: Final = ctypes.PyDLL(None, use_errno=True)
"""The C library, called without letting other threads run meanwhile."""


class NamespacesError(Exception):
    """It did not work; the text says which step and why."""


@dataclass
class Inhabitant:
    """The program in its namespaces, for the worker."""

    stdout: IO[bytes]
    stderr: IO[bytes]
    _link: socket.socket
    _keeper: int
    """Pid of process 1 of the namespace."""
    _ended: dict[str, Any] | None = field(default=None)

    def handle(self) -> int:
        """A descriptor that becomes readable when the program has ended; the caller closes it."""
        return os.dup(self._link.fileno())

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return None if self._ended is None else int(self._ended["code"])

    def wait(self) -> int:
        """Until the program has ended."""
        if self._ended is None:
            heard = _hear(self._link)
            # silence: process 1 was killed, and with it everything
            self._ended = heard or {"code": -signal.SIGKILL, "others": 0}
            self._link.close()
        return int(self._ended["code"])

    def leaves_others(self) -> bool:
        """True when the program has ended and processes of its are left; else process 1 is gone when this returns."""
        if self._ended is not None and self._ended["others"]:
            return True
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._keeper, 0)
        return False

    @property
    def attendants(self) -> int:
        """Processes beside the program that are not the job's."""
        return 1


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    folder: Path,
    sandbox: Sandbox,
    stdin: int | None = None,
) -> Inhabitant:
    """Start `argv` in namespaces of its own, in `cwd`; `folder`, the job's own, is there and can be written.

    `stdin`: a descriptor to read from, which stays the caller's; None: nothing is read.
    Raises NamespacesError, and OSError when the program cannot be executed.
    """
    out, out_end = os.pipe2(os.O_CLOEXEC)
    err, err_end = os.pipe2(os.O_CLOEXEC)
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    streams = os.fdopen(out, "rb", 0), os.fdopen(err, "rb", 0)
    life = Life(
        theirs, list(argv), dict(env), cwd, folder, sandbox, (out_end, err_end), stdin, {os.getpid(), os.getppid()}
    )  # fmt: skip
    try:
        keeper = _cloned(life)
        for end in (out_end, err_end):
            os.close(end)
        theirs.close()
        mine.settimeout(_START_WITHIN_S)
        _settle(mine, keeper)
        mine.settimeout(None)
    except BaseException:
        mine.close()
        for stream in streams:
            stream.close()
        raise
    return Inhabitant(*streams, mine, keeper)


def _cloned(life: Life) -> int:
    """The pid of process 1, which is at work already. Raises NamespacesError."""
    pid, number = _cloned_by_fork(life) if _has_other_threads() else _clone(life, 0, signal.SIGCHLD)
    if pid < 0:
        for end in (*life.streams, life.link.detach()):
            os.close(end)
        raise NamespacesError(f"making namespaces ({os.strerror(number)})")
    return pid


def _has_other_threads() -> bool:
    """Counted by the kernel: threads of libraries have no name in Python."""
    return len(os.listdir("/proc/self/task")) > 1  # noqa: PTH208 - a Path each would be made for nothing


def _clone(life: Life, flags: int, exit_signal: int) -> tuple[int, int]:
    """Pid and errno; the pid is negative when it could not be done. Never returns in the clone."""
    arguments = ctypes.create_string_buffer(_CLONE_ARGS.pack(_NAMESPACES | flags, 0, 0, 0, exit_signal, 0, 0, 0))
    # what os.fork() does around its system call; the interpreter's documentation asks for it
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = _libc.syscall(_SYS_CLONE3, arguments, _CLONE_ARGS.size)
    number = ctypes.get_errno()
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        live(life)
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    return int(pid), number


def _cloned_by_fork(life: Life) -> tuple[int, int]:
    """As `_clone`, where this process has other threads.

    A bare clone takes over what they were at: a request for the interpreter's lock, which its first lines of Python
    would grant and wait for ever, or a lock of the C library (that of its memory, say). fork() puts both right, and
    what it makes has one thread: that is what is cloned, as a child of this process.
    """
    answer, answer_end = os.pipe2(os.O_CLOEXEC)
    with open(answer, "rb") as reader:  # noqa: PTH123 - a descriptor
        forked = os.fork()
        if forked == 0:
            try:
                # the signal of its end is that of the one that cloned it, says the kernel
                os.write(answer_end, _ANSWER.pack(*_clone(life, _CLONE_PARENT, 0)))
            finally:
                os._exit(0)
        os.close(answer_end)
        told = reader.read(_ANSWER.size) if select.select([reader], (), (), _START_WITHIN_S)[0] else b""
    _end(forked)
    return _ANSWER.unpack(told) if told else (-1, errno.ECHILD)


def _settle(link: socket.socket, keeper: int) -> None:
    """The worker's part of the start."""
    try:
        if os.geteuid() == 0:
            _map_all(keeper)
            link.send(b"mapped")
        heard = _hear(link)
    except BaseException as error:
        _end(keeper)
        if isinstance(error, OSError):
            raise NamespacesError(f"starting ({error.strerror or type(error).__name__})") from None
        raise
    if heard is not None and heard["word"] == "started":
        return
    _end(keeper)
    if heard is None:
        raise NamespacesError("starting (it was cut off)")
    reason = os.strerror(heard["errno"]) if heard["errno"] else heard["what"]
    if heard["step"] == "exec":
        raise OSError(heard["errno"], reason)
    raise NamespacesError(f"{heard['step']} ({reason})")


def _end(keeper: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)


def _hear(link: socket.socket) -> dict[str, Any] | None:
    try:
        data = link.recv(MESSAGE_MAX)
    except ConnectionError:
        return None
    return json.loads(data) if data else None


def _map_all(pid: int) -> None:
    """Every id is in there what it is out here. Only root may, and only from outside."""
    for kind in ("uid", "gid"):
        ranges = [line.split() for line in Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()]
        write(f"/proc/{pid}/{kind}_map", "".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges))
