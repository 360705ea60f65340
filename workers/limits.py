"""What one job's script may use of this host: CPU time, memory, open files. Processes are `workers.confinement`'s.

CPU time and open files count for each process (setrlimit(2)). Memory counts for the whole job where the worker has a
control group with a limit, else for each process: RLIMIT_DATA, what it has of private writable memory, and not
RLIMIT_AS: the runtimes of PowerShell, Java, Go and Node reserve far more addresses than they ever use.
A shell sets the limits and becomes the program: setting them in a fork of the worker would cost more (3.2 ms, a shell
1.8 ms, measured), and setting them afterwards would come late.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SHELL: Final = "/bin/sh"
CPU_GRACE_S: Final = 5
"""Between SIGXCPU, which a script may catch to tidy up, and SIGKILL."""
_SHELL_SIGNALLED: Final = 128
"""A shell's exit code for a program ended by signal N is this plus N."""


@dataclass(frozen=True)
class Limits:
    """0: no limit."""

    cpu_s: int = 0
    memory_mb: int = 0
    open_files: int = 0

    def around(self, argv: Sequence[str], *, memory_is_kept: bool) -> list[str]:
        """`argv`, started under these limits. `memory_is_kept`: a control group has the limit already."""
        steps = [*self._cpu(), *([] if memory_is_kept else self._memory()), *self._files()]
        # when the kernel looks for memory, it takes a script before it takes the agent
        steps.append("echo 1000 2>/dev/null >/proc/self/oom_score_adj")
        return [_SHELL, "-c", "; ".join([*steps, 'exec "$@"']), "script", *argv]

    def _cpu(self) -> list[str]:
        if not self.cpu_s:
            return []
        hard = _within(resource.RLIMIT_CPU, self.cpu_s + CPU_GRACE_S)
        return [f"ulimit -S -t {min(self.cpu_s, hard)}", f"ulimit -H -t {hard}"]

    def _memory(self) -> list[str]:
        return [f"ulimit -d {_within(resource.RLIMIT_DATA, self.memory_mb << 20) >> 10}"] if self.memory_mb else []

    def _files(self) -> list[str]:
        if not self.open_files:
            return []
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        hard = _within(resource.RLIMIT_NOFILE, self.open_files)
        return [f"ulimit -S -n {hard if soft == resource.RLIM_INFINITY else min(soft, hard)}", f"ulimit -H -n {hard}"]

    def hit(self, exit_code: int, cpu_used_s: float, stderr: str, *, out_of_memory: bool) -> str | None:
        """Which limit ended the script, with its value and setting; None: none is known to have."""
        if out_of_memory:
            return (
                f"the script used more memory than this agent allows a job ({self.memory_mb} MB), and the kernel ended"
                " one of its processes; SCRIPT_MAX_MEMORY_MB changes that"
            )
        if self.cpu_s and self._out_of_time(exit_code, cpu_used_s):
            return (
                f"the script used more CPU time than this agent allows a process ({self.cpu_s} seconds), and the kernel"
                " ended it; SCRIPT_MAX_CPU_SECONDS changes that"
            )
        return self._said(stderr) if exit_code != 0 else None

    def _out_of_time(self, exit_code: int, used_s: float) -> bool:
        if exit_code in {-signal.SIGXCPU, _SHELL_SIGNALLED + signal.SIGXCPU}:
            return True
        return exit_code in {-signal.SIGKILL, _SHELL_SIGNALLED + signal.SIGKILL} and used_s >= self.cpu_s

    def _said(self, stderr: str) -> str | None:
        """A hint, no verdict: the words are the C library's for EMFILE and ENOMEM, which a limit is one cause of."""
        if self.open_files and "Too many open files" in stderr:
            return f"this agent allows a process {self.open_files} open files; SCRIPT_MAX_OPEN_FILES changes that"
        if self.memory_mb and any(
            words in stderr for words in ("Cannot allocate memory", "cannot allocate", "MemoryError")
        ):
            return f"this agent allows a script {self.memory_mb} MB of memory; SCRIPT_MAX_MEMORY_MB changes that"
        return None


def _within(kind: int, wanted: int) -> int:
    """The limit that can be set: nobody but root may raise a hard one."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
