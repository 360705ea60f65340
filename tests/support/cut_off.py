"""What comes of an operation that is killed at any of its system calls: each in a child of its own."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "fchmod", "fsync", "replace", "unlink", "close")


def at_each_call(prepare: Callable[[int], Path], operation: Callable[[Path], object], *, lifetime_s: int) -> None:
    """Kill one child at each system call of `operation(prepare(number))`, until one gets through.

    Prints how many calls there are. Exits when a child fails by itself; none lives longer than `lifetime_s`.
    """
    for point in itertools.count():
        place = prepare(point)
        child = os.fork()
        if child == 0:
            signal.alarm(lifetime_s)
            die_at(point)
            operation(place)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            if os.WEXITSTATUS(status) != 0:
                sys.exit(f"point {point}: exit {os.WEXITSTATUS(status)}")
            sys.stdout.write(f"{point}\n")
            return


def die_at(point: int) -> None:
    """Kill this process by SIGKILL instead of the system call number `point`."""
    count = itertools.count()

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if next(count) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
