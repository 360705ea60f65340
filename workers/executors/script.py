"""Scripts on the agent's own host: `script.bash`, `script.python`, `script.powershell` (contract 3.2).

Unlike the contract's base form, a script does not inherit the agent's environment. It gets `PATH` (without the agent's
virtual environment), `LANG`, `LC_*`, `TZ`, `USER`, `LOGNAME`, `SHELL`, and `HOME` and `TMPDIR` in a private folder that
is its working directory and is removed afterwards: the account's real home holds the vault. Then the job's own `env`,
less the names that would change which code runs.

**Interpreters** are found on that `PATH`. The container image has bash and python3. PowerShell comes from its maker
(https://learn.microsoft.com/powershell/scripting/install/installing-powershell-on-linux): on a host, install its
package, so that `pwsh` is in `/usr/bin`; for containers, build an image `FROM` this one that has it. It runs as
`pwsh -NoLogo -NoProfile -NonInteractive -File script.ps1 ARGS`: no profile changes which code runs, and a script that
asks a question fails instead of waiting. `exit N` is the exit code; an error that ends a script gives 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from easyalert.errors import AgentFault, Fault
from workers.job_folders import WORK, job_folder
from workers.processes import ProcessEnd, run_process
from workers.sdk import Context, Executor, ExecutorResult, Parameters, action, failure, success
from workers.sdk.parameters import Prose, plain
from workers.sdk.programs import account_name, environment_for, search_path

log = logging.getLogger(__name__)

SCRIPT_MAX_BYTES: Final = 1_048_576
ONE_TEXT_MAX_BYTES: Final = 131_071
"""Of Linux (MAX_ARG_STRLEN): 32 pages of 4 KiB, with the NUL that ends it."""
TEXTS_MAX_BYTES: Final = 1_048_576
"""The system's own bound is a quarter of the stack's, 2 MiB as a rule, for arguments and environment together."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REFUSED_PREFIXES: Final = ("LD_", "DYLD_", "BASH_FUNC_", "EASYALERT_", "CORECLR_", "COR_", "DOTNET_", "COMPLUS_")
_REFUSED_NAMES: Final = frozenset(
    # one text, because the names read best as lines of one family each
    """
    PATH HOME USER LOGNAME SHELL TMPDIR
    BASH_ENV ENV BASHOPTS SHELLOPTS BASH_XTRACEFD PS4 IFS CDPATH GLOBIGNORE PROMPT_COMMAND
    PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONINSPECT PYTHONBREAKPOINT PYTHONUSERBASE PYTHONPLATLIBDIR
    PYTHONEXECUTABLE PYTHONWARNINGS PYTHONPYCACHEPREFIX PYTHONCASEOK
    PSMODULEPATH NODE_OPTIONS NODE_PATH PERL5OPT PERL5LIB PERLLIB PERL5DB RUBYOPT RUBYLIB
    JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH
    GCONV_PATH LOCPATH NLSPATH HOSTALIASES RESOLV_HOST_CONF RES_OPTIONS LOCALDOMAIN MALLOC_TRACE
    """.split()  # noqa: SIM905 - as a list literal it would be one name a line
)
"""Contract 3.2's list, and the others through which an interpreter or the loader runs foreign code."""


@dataclass(frozen=True)
class Interpreter:
    """How one language is run."""

    program: str
    options: tuple[str, ...]
    suffix: str


INTERPRETERS: Final = {
    "bash": Interpreter("bash", (), ".sh"),
    "python": Interpreter("python3", (), ".py"),
    "powershell": Interpreter("pwsh", ("-NoLogo", "-NoProfile", "-NonInteractive", "-File"), ".ps1"),
}


class ScriptParameters(Parameters):
    """Parameters of all three actions."""

    script: Prose = Field(description="The script's text, at most 1 MiB of UTF-8.")
    env: dict[str, str] = Field(
        default_factory=dict, description="Variables for the script, at most 128 KiB each, 1 MiB together."
    )
    args: list[Any] = Field(
        default_factory=list,
        description="Arguments; strings, numbers and booleans are used, others skipped. At most 128 KiB each, 1 MiB "
        "together.",
    )

    @field_validator("script")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value

    @field_validator("args", mode="before")
    @classmethod
    def _one_argument(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("args")
    @classmethod
    def _usable_arguments(cls, value: list[Any]) -> list[str]:
        arguments = [str(item) for item in value if isinstance(item, str | int | float)]
        _fits_a_command_line(arguments)
        return arguments

    @field_validator("env")
    @classmethod
    def _usable_names(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(map(_VARIABLE.fullmatch, value)):
            raise ValueError("holds a name that is no variable's name (letters, digits, underscore)")
        _fits_a_command_line([f"{name}={content}" for name, content in value.items()])
        return value


def _fits_a_command_line(texts: list[str]) -> None:
    """Raises ValueError for what the system cannot hand to a program (execve(2))."""
    size = 0
    for text in texts:
        length = len(plain(text).encode())
        size += length + 1
        if length > ONE_TEXT_MAX_BYTES:
            raise ValueError(f"holds a text of {length} bytes; at most {ONE_TEXT_MAX_BYTES} can be handed to a program")
    if size > TEXTS_MAX_BYTES:
        raise ValueError(f"has {size} bytes; at most {TEXTS_MAX_BYTES} can be handed to a program")


class Script(Executor):
    """Runs scripts. Nothing of it is idempotent: nobody can know what a script does."""

    kind = "script"

    @action("bash", idempotent=False)
    async def bash(self, ctx: Context, params: ScriptParameters) -> ExecutorResult:
        """Run with bash."""
        return _run(ctx, params, INTERPRETERS["bash"])

    @action("python", idempotent=False)
    async def python(self, ctx: Context, params: ScriptParameters) -> ExecutorResult:
        """Run with python3, not the agent's own."""
        return _run(ctx, params, INTERPRETERS["python"])

    @action("powershell", idempotent=False)
    async def powershell(self, ctx: Context, params: ScriptParameters) -> ExecutorResult:
        """Run with pwsh."""
        return _run(ctx, params, INTERPRETERS["powershell"])


def _run(ctx: Context, params: ScriptParameters, interpreter: Interpreter) -> ExecutorResult:
    ctx.isolation.require()
    text = params.script.encode()
    if len(text) > SCRIPT_MAX_BYTES:
        return failure(f"the script is larger than {SCRIPT_MAX_BYTES} bytes", exit_code=1, fault=Fault.JOB)
    path = search_path()
    program = shutil.which(interpreter.program, path=path)
    if program is None:
        raise AgentFault(
            f"this agent has no '{interpreter.program}', which {ctx.action_type} needs; install it on the agent's host"
        )
    with _script_file(ctx, text, interpreter.suffix) as (file, home):
        environment = _environment(ctx, params.env, path, home)
        argv = [program, *interpreter.options, str(file), *params.args]
        end = run_process(ctx, argv, env=environment, cwd=home, folder=file.parent)
    if end.stragglers:
        log.warning("the script of job %s left %d processes behind; they were killed", ctx.job_id, end.stragglers)
    return _result(ctx, interpreter, end)


def _result(ctx: Context, interpreter: Interpreter, end: ProcessEnd) -> ExecutorResult:
    if end.stopped == "timed_out":
        sentence = f"timed out after {ctx.timeout_s} seconds; the script and all it had started were ended"
        return failure(sentence, output=end.output, exit_code=-1, fault=Fault.JOB, outcome="timed_out")
    if end.stopped == "cancelled":
        return failure(
            "cancelled: the script and all it had started were ended",
            output=end.output, exit_code=-1, fault=None, outcome="cancelled",
        )  # fmt: skip
    if end.stopped == "overgrown":
        sentence = "the script had more processes than this agent allows (SCRIPT_MAX_PROCESSES); they were ended"
        return failure(sentence, output=end.output, exit_code=-1, fault=Fault.JOB)
    if end.exit_code == 0:
        return success(end.output)
    if end.limit and end.exit_code < 0:
        return failure(end.limit, output=end.output, exit_code=end.exit_code, fault=Fault.JOB)
    how = f"ended by {end.signal_name}" if end.signal_name else f"exit code {end.exit_code}"
    error = end.stderr.text().strip() or f"{interpreter.program}: {how}, nothing on stderr"
    error = f"{error}; {end.limit}" if end.limit else error
    return failure(error, output=end.output, exit_code=end.exit_code, fault=Fault.JOB)


@contextlib.contextmanager
def _script_file(ctx: Context, text: bytes, suffix: str) -> Iterator[tuple[Path, Path]]:
    """The script in a private folder, and the working directory beside it; both gone afterwards (contract 6.3)."""

    def write(folder: Path) -> None:
        descriptor = os.open(folder / f"script{suffix}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o700)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)

    with job_folder(ctx, write) as folder:
        yield folder / f"script{suffix}", folder / WORK


def _environment(ctx: Context, wanted: dict[str, str], path: str, home: Path) -> dict[str, str]:
    environment = environment_for(home, path, ctx.isolation.name or account_name())
    refused = sorted(name for name in wanted if _refused(name))
    if refused:
        log.warning("job %s: variables not passed to the script: %s", ctx.job_id, ", ".join(refused))
    return environment | {name: value for name, value in wanted.items() if not _refused(name)}


def _refused(name: str) -> bool:
    upper = name.upper()
    return upper in _REFUSED_NAMES or upper.startswith(_REFUSED_PREFIXES)
