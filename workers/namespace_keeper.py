"""Process 1 of a script's namespaces: a clone of the worker that hides the agent's folders and starts the script.

Nothing in here logs, and nothing returns to what the worker was doing: little more than system calls.

Ids are those outside: of an ordinary account its own alone, of root all. A script of root keeps what it needs for files
and accounts; everything else, and setuid programs (no new privileges), end here. Source: user_namespaces(7),
pid_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from easyalert.hardening import allow_looks, harden

_MS_RDONLY: Final = 1
_MS_NOSUID: Final = 2
_MS_NODEV: Final = 4
_MS_NOEXEC: Final = 8
_MS_REMOUNT: Final = 32
_MS_BIND: Final = 4096
_MS_REC: Final = 16384
_MS_SLAVE: Final = 1 << 19

_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_LAST_CAPABILITY: Final = 63
_KEPT: Final = frozenset({0, 1, 3, 4, 5, 6, 7})
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID (linux/capability.h): a script of root works with files and
accounts. Not SYS_ADMIN, which could take the masks away."""

_NOTHING: Final = ".nothing"
"""An empty file in the job's folder, laid over files that are hidden; its name is gone before the program runs."""
_ORPHAN_LOOK_S: Final = 2.0
MESSAGE_MAX: Final = 4096
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Sandbox:
    """What is different inside. Paths are absolute and without symbolic links; what does not exist is passed over."""

    hidden: tuple[Path, ...] = ()
    """Folders are empty in there, files too."""
    fixed: tuple[Path, ...] = ()
    """Folders that cannot be written in there: the agent's own code."""


@dataclass
class Life:
    """What the forked processes are to do."""

    link: socket.socket
    argv: list[str]
    env: dict[str, str]
    cwd: Path
    folder: Path
    sandbox: Sandbox
    streams: tuple[int, int]
    stdin: int | None
    """Where the program reads; None: nothing."""
    family: set[int]
    """Worker and pool: when neither is the parent any more, nobody looks after this job."""
    ids: tuple[int, int] | None = field(
        default_factory=lambda: None if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    )
    """Account and group as they are outside; None: the worker, being root, maps all."""
    step: str = "start"

    def say(self, word: str, **more: object) -> None:
        """One message to the worker."""
        self.link.send(json.dumps({"word": word, **more}).encode())


def live(life: Life) -> NoReturn:
    """Be process 1, in a clone that was just made."""
    try:
        gc.disable()
        _forget_signals()
        life.step = "ids"
        if life.ids is None:
            if not life.link.recv(MESSAGE_MAX):
                os._exit(1)
        else:
            _map_own(*life.ids)
        host = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _furnish(life)
        life.step = "privileges"
        _drop_privileges()
        life.step = "exec"
        os.umask(0o022)
        os.chdir(life.cwd)
        program = subprocess.Popen(
            life.argv, env=life.env, stdin=subprocess.DEVNULL if life.stdin is None else life.stdin,
            stdout=life.streams[0], stderr=life.streams[1], start_new_session=True,
        )  # fmt: skip
        life.say("started")
        _let_go({host, life.link.fileno()})
        _keep(life, program.pid, host)
    except BaseException as error:  # noqa: BLE001 - a clone of the worker must not go on as one
        _fail(life, error)


def _fail(life: Life, error: BaseException) -> NoReturn:
    with contextlib.suppress(BaseException):
        number = error.errno if isinstance(error, OSError) and error.errno else 0
        life.say("failed", step=life.step, errno=number, what=type(error).__name__)
    os._exit(1)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _let_go(kept: set[int]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if (number := int(entry.name)) not in {0, 1, 2, *kept}:
            with contextlib.suppress(OSError):
                os.close(number)


def _keep(life: Life, program: int, host: int) -> NoReturn:
    """Collect the dead until nobody is left, or nobody looks after the job any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        code: int | None = None
        alone = False
        try:
            while (dead := os.waitpid(-1, os.WNOHANG))[0] != 0:
                if dead[0] == program:
                    code = os.waitstatus_to_exitcode(dead[1])
        except ChildProcessError:
            alone = True
        if code is not None:
            with contextlib.suppress(OSError):
                life.say("ended", code=code, others=0 if alone else 1)
        if alone or _orphaned(host, life.family):
            os._exit(0)
        signal.sigtimedwait({signal.SIGCHLD}, _ORPHAN_LOOK_S)


def _orphaned(host: int, family: set[int]) -> bool:
    """Whether this process's parent, as seen outside, is neither the worker nor its pool."""
    file = os.open("self/status", os.O_RDONLY, dir_fd=host)
    try:
        lines = os.read(file, MESSAGE_MAX).decode("ascii", "replace").splitlines()
    finally:
        os.close(file)
    parent = next((int(line.split()[1]) for line in lines if line.startswith("PPid:")), 0)
    return parent not in family


# ---- ids, mounts and privileges ------------------------------------------------------------------------------------


def _map_own(account: int, group: int) -> None:
    """In there: this account and its group, as they are out here. Others have no number."""
    allow_looks()  # else these files belong to root; nothing in there can see this process yet
    try:
        write("/proc/self/setgroups", "deny")  # the kernel's condition
        write("/proc/self/gid_map", f"{group} {group} 1\n")
        write("/proc/self/uid_map", f"{account} {account} 1\n")
    finally:
        harden()


def write(file: str, text: str) -> None:
    """Into a file of the kernel's, in one piece. Raises OSError."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("ascii"))
    finally:
        os.close(descriptor)


def _furnish(life: Life) -> None:
    life.step = "mounts"
    os.chdir(life.folder)  # from here on "." is the job's folder, whatever lies over its path
    _mount(None, "/", None, _MS_REC | _MS_SLAVE)
    for path in life.sandbox.fixed:
        if os.path.exists(path):  # noqa: PTH110 - unlike Path.exists, False where this account cannot look
            life.step = f"protecting {path}"
            _mount(str(path), str(path), None, _MS_BIND | _MS_REC)
            _seal(path)
    nothing = Path(_NOTHING)
    for path in life.sandbox.hidden:
        life.step = f"hiding {path}"
        if os.path.isdir(path):  # noqa: PTH112 - as above
            _mount("tmpfs", str(path), "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, "mode=0755,size=64k,nr_inodes=64")
            if life.folder.is_relative_to(path):
                life.folder.mkdir(mode=0o700, parents=True)
                _mount(".", str(life.folder), None, _MS_BIND)
            _seal(path)
        elif os.path.exists(path):  # noqa: PTH110 - as above
            nothing.touch(mode=0o400)
            _mount(_NOTHING, str(path), None, _MS_BIND)
            _seal(path)
    nothing.unlink(missing_ok=True)
    life.step = "mounting /proc"
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def _seal(path: Path) -> None:
    """Read-only. What was forbidden on the file system before has to stay so, says the kernel."""
    before = os.statvfs(path).f_flag & (_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount(None, str(path), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | before)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), None if options is None else options.encode()))


def _drop_privileges() -> None:
    for capability in range(_LAST_CAPABILITY + 1):
        if capability not in _KEPT and _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break  # the kernel knows no further ones
    _check(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
