"""Services of systemd, through systemctl(1).

Not D-Bus: systemctl is on each machine that has systemd, asks the same polkit, and waits for systemd's job, while a
library for D-Bus would be one more dependency, and one more thing that a container lacks.
"""

from __future__ import annotations

from typing import Final

from easyalert.errors import AgentFault, InvalidParameter
from workers.sdk.services import Ended, Run, Unit, Verb

_OPTIONS: Final = ("--no-ask-password", "--no-pager")
_PROPERTIES: Final = (
    "Id,LoadState,ActiveState,SubState,Type,MainPID,ActiveEnterTimestamp,Result,ExecMainStatus,NRestarts"
)
_KINDS: Final = frozenset({"service", "socket", "timer", "path"})
_OF_THE_HOST: Final = frozenset(
    # one text, because the names read best as lines
    """
    systemd-reboot.service systemd-poweroff.service systemd-halt.service systemd-kexec.service
    systemd-soft-reboot.service systemd-suspend.service systemd-hibernate.service systemd-hybrid-sleep.service
    systemd-suspend-then-hibernate.service rescue.service emergency.service initrd-switch-root.service
    """.split()  # noqa: SIM905 - as a list literal it would be one name a line
)
"""They end what the whole machine does: that is `os.restartOS`, which the agent's owner has to allow."""
_LOG_LINES: Final = 20


class Systemd:
    """`program`: where systemctl is."""

    name = "systemd"
    goes_on = True

    def __init__(self, program: str) -> None:
        self._program = program

    def look(self, service: str, run: Run) -> Unit:
        """Also of units that do not exist. Raises InvalidParameter, and AgentFault when systemd does not answer."""
        if service.removesuffix(".service").endswith("@"):  # asked about, systemctl would call it no unit
            raise InvalidParameter("serviceName", "is a template's: name an instance of it, as in getty@tty1.service")
        end = run([self._program, *_OPTIONS, "show", f"--property={_PROPERTIES}", "--", service])
        text, complaint = end.texts
        said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if end.exit_code != 0 or "LoadState" not in said:
            reason = complaint.strip().partition("\n")[0] or f"systemctl show: exit code {end.exit_code}"
            raise AgentFault(f"systemd of this agent's host does not tell about '{service}': {reason}")
        return Unit(
            name=said.get("Id") or service,
            load=said["LoadState"],
            active=said.get("ActiveState", ""),
            sub=said.get("SubState", ""),
            kind=said.get("Type", ""),
            main_pid=_number(said.get("MainPID")),
            since=said.get("ActiveEnterTimestamp", ""),
            result=said.get("Result", ""),
            exit_status=_number(said.get("ExecMainStatus")),
            restarts=_number(said.get("NRestarts")),
        )

    def refusal(self, verb: Verb | None, unit: Unit) -> str | None:
        """Of the real name, which an alias leads to."""
        kind = unit.name.rpartition(".")[2]
        if unit.load == "not-found":
            return f"this agent's host has no unit '{unit.name}'"
        return None if verb is None else _refusal(verb, unit, kind)

    def act(self, verb: Verb, service: str, run: Run) -> Ended:
        """Waits until systemd's job has ended."""
        return run([self._program, *_OPTIONS, verb, "--", service])

    def log(self, unit: Unit, run: Run) -> str | None:
        """As `systemctl status` shows it: its exit code says how the unit is, not whether it worked."""
        end = run([self._program, *_OPTIONS, "status", "--full", f"--lines={_LOG_LINES}", "--", unit.name])
        return end.texts[0].strip() or None


def _refusal(verb: Verb, unit: Unit, kind: str) -> str | None:
    if kind not in _KINDS or unit.name in _OF_THE_HOST:
        return (
            f"'{unit.name}' is no service but a state of the whole host: os.* actions are for services, sockets,"
            " timers and paths; os.restartOS restarts the host"
        )
    if unit.load == "masked" and verb != "stop":
        return f"'{unit.name}' is masked on this agent's host; `systemctl unmask {unit.name}` there allows it"
    if unit.load in {"error", "bad-setting"}:
        return f"the unit file of '{unit.name}' is broken; `systemctl status {unit.name}` on the host says where"
    return None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
