"""The agent's Python programs as forks of supervisord's process: all of them share the memory of their libraries.

supervisord starts a program by fork and exec. Where the exec would only start this same Python anew, with a module of
ours, the module is run in the forked process instead: what would each time be imported again (0.5 s, 40 MB) is there.
Everything else is as after an exec: environment, arguments, signal handlers, exit code, and the name in `ps`.
What is imported for all of them holds no secret and does nothing by being imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import os
import random
import signal
import sqlite3
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from easyalert import file_pages, sealing, startup
from easyalert.runtime import EXIT_FAILURE, EXIT_OK

NAMES: Final = frozenset({"admin", "heartbeat", "poller", "workers"})
"""Programs that may be run so: `python -I -m NAME` in `supervisord.conf`."""

_LATER: Final = (
    *("poller.program", "uvloop", "anyio._backends._asyncio", "cryptography.hazmat.backends.openssl.backend"),
    *("encodings.ascii", "encodings.idna", "httpcore", "sniffio"),
)
"""What programs, and libraries of theirs, import only after their beginning, but always."""

_UNUSED: Final = ("httpx._main",)
"""Modules that libraries import if they can, and nobody here uses: httpx's command line, with all of rich."""
_NO_MODULE: Final[Any] = None

_SIGNALS: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR2)
"""Those that supervisord handles; an exec, too, would set them back."""

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Parameters of mallopt(3)."""
_LARGE_BYTES: Final = 64 * 1024

_ARGUMENTS_BEGIN: Final = 45
"""Of `/proc/PID/stat` behind the name: arg_start and arg_end, the fields 48 and 49 of proc(5), where the name is 2."""


def preload() -> None:
    """Once, before the first fork: import what the programs begin with, and build what libraries build on first use.

    Importing a program's `__main__` runs nothing.
    """
    for name in _UNUSED:
        if name not in sys.modules:
            sys.modules[name] = _NO_MODULE  # the documented way to have an import fail
    _give_back_large_blocks()
    gc.disable()  # no holes in what is to be shared
    for name in (*(f"{program}.__main__" for program in sorted(NAMES)), *_LATER):
        import_module(name)
    startup.prepare()
    from easyalert.netguard.transport import system_trust  # noqa: PLC0415 - it imports httpx

    with contextlib.suppress(OSError):  # whoever needs it will say so
        system_trust()
    sealing.rehearse()
    _arguments_area()
    sqlite3.connect(":memory:").close()
    gc.collect()
    gc.freeze()
    file_pages.let_go()
    gc.enable()  # in this process too: each connection to supervisord's socket leaves 5 kB of cycles behind


def named(arguments: Sequence[str]) -> str | None:
    """The program of ours that this command line starts with this very Python; None for any other."""
    match list(arguments):
        case [sys.executable, "-I", "-m", name] if name in NAMES:
            return name
        case _:
            return None


def become(name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """In a process just forked for it: be the program `name` until its end, as an exec of `arguments` would."""
    code = EXIT_FAILURE
    try:
        _forget_the_parent(environment)
        rename(arguments)
        sys.argv[:] = [name]
        code = import_module(f"{name}.__main__").main()
    except SystemExit as end:
        code = _exit_code(end.code)
    except BaseException:  # noqa: BLE001 - as the interpreter does at its own end
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def rename(arguments: Sequence[str]) -> bool:
    """Show `arguments` as this process's command line, for `ps`. False, and nothing changed, when they do not fit."""
    begin, end = _arguments_area()
    text = b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
    if not begin or len(text) > end - begin:
        return False
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)
    return True


@functools.cache
def _arguments_area() -> tuple[int, int]:
    """Where the kernel reads a process's command line; the same in all forks."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    begin, end = fields[_ARGUMENTS_BEGIN:][:2]
    return int(begin), int(end)


def _forget_the_parent(environment: Mapping[str, str]) -> None:
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # only what differs is written: each variable costs memory that is shared now
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})
    random.seed()
    gc.freeze()


def _give_back_large_blocks() -> None:
    """Have what is freed of large buffers go back to the system, always.

    glibc does so only until it has seen a few, then keeps the rest: 4 MB in the poller after a job that printed much.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # musl has no such thing, and gives back anyway
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def _exit_code(code: Any) -> int:
    if code is None:
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_FAILURE
