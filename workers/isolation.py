"""How scripts are kept from what the agent keeps (`SCRIPT_ISOLATION`), and how programs are started under that.

`userns`: namespaces in which the agent's folders and processes do not exist (`workers.namespaces`). `user:NAME`:
another account of this machine. `none`: the agent's own account, and whatever that may read.
`workers.isolation_trial` chooses.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

from easyalert.errors import AgentFault
from easyalert.files import private_folder
from workers import namespaces, trees
from workers.namespace_keeper import Sandbox
from workers.namespaces import NamespacesError

Mode = Literal["userns", "user", "none", "refused"]

NOTE: Final = "isolation"
"""Journal note: `Isolation.wire()`; its `state` is a component's word for the heartbeat."""
OF_ACCOUNT: Final = ("vault", "journal", "adminToken", "redisSocket", "supervisorSocket", "configuration")
"""What any program of the agent's account can read or reach: what `none` exposes."""
OF_ROOT: Final = ("processTrace", "processMemory")
"""What root can do to the agent's processes besides, although they are not dumpable."""
_OTHERS_MAY_PASS: Final = 0o711
HOW: Final = "docs/isolation.md says what each way needs"


class Running(Protocol):
    """A program that was started, whichever way."""

    stdout: IO[bytes]
    stderr: IO[bytes]

    def handle(self) -> int:
        """A new descriptor, readable once the program has ended."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """Until it has ended."""

    def leaves_others(self) -> bool:
        """After its end: whether processes it has started are left."""

    @property
    def attendants(self) -> int:
        """Processes of ours that live as long as those of the program."""


@dataclass(frozen=True)
class Account:
    """Whom scripts run as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Isolation:
    """Inherited by every worker. The default runs programs as they are: what is no script."""

    asked: str = "none"
    mode: Mode = "none"
    why: str = ""
    """Why not what was asked for first; with mode `refused`, why scripts are refused."""
    sandbox: Sandbox = field(default_factory=Sandbox)
    account: Account | None = None
    scripts_dir: Path | None = None
    """Where the folders of running scripts are, when not in the agent's own folder."""
    exposed: tuple[str, ...] = ()

    def require(self) -> None:
        """Raises AgentFault when scripts are not run here."""
        if self.mode == "refused":
            raise AgentFault(
                f"this agent runs no scripts: SCRIPT_ISOLATION={self.asked} does not work on its machine ({self.why});"
                f" mend that or change SCRIPT_ISOLATION, then restart the agent; {HOW}"
            )

    def hides(self, file: Path) -> Path | None:
        """What of the agent's a script does not see, and `file` with it; None: a script sees the file."""
        if self.mode != "userns":
            return None
        real = file.resolve()
        return next((hidden for hidden in self.sandbox.hidden if real.is_relative_to(hidden)), None)

    @property
    def sentence(self) -> str:
        """For people."""
        match self.mode:
            case "userns":
                return "userns: scripts see neither the agent's files nor its processes"
            case "user":
                return f"user: scripts run as {self.account.name if self.account else '?'}"
            case "refused":
                return f"scripts are refused: SCRIPT_ISOLATION={self.asked} does not work here ({self.why})"
            case "none":
                reason = f" ({self.why})" if self.why else ""
                return f"none{reason}: a script can reach the agent's {', '.join(self.exposed)}"

    def wire(self) -> dict[str, Any]:
        """For the heartbeat and for `easyalert-agent status`."""
        return {
            "state": "scripts refused" if self.mode == "refused" else "ok",
            "asked": self.asked,
            "mode": self.mode,
            "sentence": self.sentence,
            "exposed": list(self.exposed),
            "reason": self.why or None,
        }

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        folder: Path | None,
        stdin: int | None = None,
    ) -> Running:
        """Start a program. `folder`: the job's own, which only a script has; without one it is not isolated.

        `stdin`: a descriptor to read from, which stays the caller's; None: nothing is read.

        Raises OSError when the program cannot be started, AgentFault when it cannot be isolated.
        """
        if folder is None or cwd is None or self.mode in {"none", "refused"}:
            return Plain(argv, env, cwd, None, stdin)
        if self.mode == "user":
            return Plain(argv, env, cwd, self.account, stdin)
        try:
            return namespaces.start(argv, env=env, cwd=cwd, folder=folder, sandbox=self.sandbox, stdin=stdin)
        except NamespacesError as error:
            raise AgentFault(f"this agent could not isolate the script, so it was not run: {error}; {HOW}") from None

    def place(self, tmp_dir: Path) -> Path:
        """The folder in which a script's own folder is made. Raises OSError."""
        if self.scripts_dir is None:
            return tmp_dir
        private_folder(self.scripts_dir)
        self.scripts_dir.chmod(_OTHERS_MAY_PASS)  # nobody reads which scripts there are
        return self.scripts_dir

    def hand_over(self, folder: Path) -> None:
        """Give a script's folder, with all that is in it, to the account it runs as. Raises OSError."""
        if self.account is not None:
            for path in (*folder.rglob("*"), folder):
                os.chown(path, self.account.uid, self.account.gid, follow_symlinks=False)

    @property
    def name(self) -> str | None:
        """The account's name when it is not the agent's own."""
        return None if self.account is None else self.account.name


class Plain:
    """A program without namespaces: of this account, or of another one."""

    attendants: Final = 0

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        account: Account | None,
        stdin: int | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            umask=0o022,  # the agent's own 077 would surprise whoever reads what a script writes
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else list(account.groups),
        )
        assert self._process.stdout is not None and self._process.stderr is not None  # noqa: S101, PT018 - for mypy
        self.stdout: IO[bytes] = self._process.stdout
        self.stderr: IO[bytes] = self._process.stderr

    def handle(self) -> int:
        """A pidfd."""
        return os.pidfd_open(self._process.pid)

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Until it has ended."""
        return self._process.wait()

    def leaves_others(self) -> bool:
        """Whatever was orphaned is the worker's child by now."""
        return trees.reap()


def scripts_dir(agent: str) -> Path:
    """Where the folders of scripts of another account are: nobody else comes into the agent's own folder."""
    return Path(tempfile.gettempdir()) / f"easyalert-scripts-{agent}"
