"""Services of this machine, whatever manages them: how they are named, what is known of one, what an outcome means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import AfterValidator

Verb = Literal["start", "stop", "restart"]
NAME_MAX_CHARS: Final = 253
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*", re.ASCII)
_DENIALS: Final = (
    "access denied", "authentication required", "permission denied", "operation not permitted", "must be root",
    "superuser access required", "not authorized",
)  # fmt: skip
"""What systemctl, rc-service and shutdown say to an account without the right, in the C locale."""


def _service_name(value: str) -> str:
    # the whole text: `$` would let a trailing newline in (defect C21)
    if len(value) > NAME_MAX_CHARS or not _NAME.fullmatch(value):
        raise ValueError(
            "must begin with a letter or digit, then hold letters, digits and . _ @ : - only,"
            f" at most {NAME_MAX_CHARS} characters"
        )
    return value


ServiceName = Annotated[str, AfterValidator(_service_name)]
"""Contract 3.5. It begins with a letter or digit, so that it is never taken for an option."""


class Ended(Protocol):
    """A program that was run (`workers.processes.ProcessEnd`)."""

    exit_code: int
    stopped: Any

    @property
    def texts(self) -> tuple[str, str]:
        """Standard output and standard error."""


Run = Callable[[Sequence[str]], Ended]
"""Runs a program to its end, within the action's time."""


@dataclass(frozen=True)
class Unit:
    """What the manager says of a service. Empty: it does not say."""

    name: str
    load: str = ""
    """`loaded`, `not-found`, `masked`, `error`, `bad-setting`."""
    active: str = ""
    """`active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`."""
    sub: str = ""
    kind: str = ""
    """systemd's Type: `simple`, `notify`, `oneshot`, …"""
    main_pid: int = 0
    since: str = ""
    """When it became active, as the manager writes it."""
    result: str = ""
    """Why it failed: `exit-code`, `signal`, `timeout`, `start-limit-hit`, …"""
    exit_status: int = 0
    restarts: int = 0
    """How often the manager has restarted it by itself."""

    @property
    def state(self) -> str:
        """`active (running)`."""
        return f"{self.active or 'unknown'} ({self.sub})" if self.sub else self.active or "unknown"

    @property
    def wire(self) -> dict[str, Any]:
        """What the output says of it beside the contract's two texts."""
        return {
            "unit": self.name,
            "loadState": self.load or None,
            "activeState": self.active or None,
            "subState": self.sub or None,
            "mainPid": self.main_pid or None,
            "since": self.since or None,
            "result": self.result or None,
        }


class Manager(Protocol):
    """What manages services: systemd, OpenRC."""

    name: str
    goes_on: bool
    """An action that was given up here goes on there."""

    def look(self, service: str, run: Run) -> Unit:
        """Raises AgentFault when the manager does not answer."""

    def refusal(self, verb: Verb | None, unit: Unit) -> str | None:
        """Why `verb` is not even tried (None: only looking); None: nothing speaks against it."""

    def act(self, verb: Verb, service: str, run: Run) -> Ended:
        """Do it and wait for it."""

    def log(self, unit: Unit, run: Run) -> str | None:
        """The last lines the service has left, where this account may read them."""


def denied(text: str) -> bool:
    """Whether a manager's words say that this account has not the right."""
    lower = text.lower()
    return any(word in lower for word in _DENIALS)


def undecided(text: str) -> bool:
    """Whether nobody has answered who may do it: systemd waits 25 s for polkit, then says so."""
    lower = text.lower()
    return "connection timed out" in lower or "method call timed out" in lower or "policykit1" in lower


def outcome(verb: Verb, first: Unit, now: Unit) -> str | None:
    """What is wrong after `verb`: a sentence's end; None: it is as asked. `first`: right after it, `now`: later."""
    if verb == "stop":
        # a service that dies of its SIGTERM is "failed", and stopped
        return None if now.active in {"inactive", "failed", ""} else f"is {now.state} after it was stopped"
    if now.active == "failed":
        return f"failed right after its start ({_why(now)})"
    if now.sub == "auto-restart" or now.restarts > first.restarts or _changed(first, now):
        return f"ends right after each start and is started again and again ({_why(now)})"
    if now.active == "inactive" and now.kind not in {"oneshot", ""}:
        return f"ended by itself right after its start ({_why(now)})"
    return None


def _changed(first: Unit, now: Unit) -> bool:
    # forking and notifying services may change their main process while they start, others do not
    return now.kind in {"simple", "exec"} and bool(first.main_pid and now.main_pid) and first.main_pid != now.main_pid


def _why(unit: Unit) -> str:
    if unit.result and unit.result != "success":
        return f"{unit.result}, status {unit.exit_status}"
    return f"status {unit.exit_status}"
