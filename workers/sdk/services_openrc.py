"""Services of OpenRC (Alpine, Gentoo), through rc-service(8).

Stopping and asking only. `rc-service NAME start` has the daemon come from the process that calls it, and whatever a job
leaves behind is ended with the job: the daemon would live for seconds. systemd starts services itself.
"""

from __future__ import annotations

from typing import Final

from workers.sdk.services import Ended, Run, Unit, Verb

_STATES: Final = {0: ("active", "started"), 3: ("inactive", "stopped"), 32: ("failed", "crashed")}
"""Exit codes of `rc-service NAME status`; 4, 8 and 16 are stopping, starting, inactive."""
_PASSING: Final = {4: ("deactivating", "stopping"), 8: ("activating", "starting"), 16: ("inactive", "inactive")}


class OpenRC:
    """`program`: where rc-service is."""

    name = "OpenRC"
    goes_on = False

    def __init__(self, program: str) -> None:
        self._program = program

    def look(self, service: str, run: Run) -> Unit:
        """Also of services that do not exist."""
        if run([self._program, "--exists", service]).exit_code != 0:
            return Unit(service, load="not-found", active="inactive")
        code = run([self._program, service, "status"]).exit_code
        active, sub = {**_STATES, **_PASSING}.get(code, ("", f"status {code}"))
        return Unit(service, load="loaded", active=active, sub=sub)

    def refusal(self, verb: Verb | None, unit: Unit) -> str | None:
        """What cannot be done here."""
        if unit.load == "not-found":
            return f"this agent's host has no service '{unit.name}'"
        if verb in {"start", "restart"}:
            return (
                f"'{unit.name}' was left as it is: with OpenRC a daemon would be this job's process and end with"
                " it; let cron, or ssh.executeCommand to this host, start it"
            )
        return None

    def act(self, verb: Verb, service: str, run: Run) -> Ended:
        """Waits until it is done."""
        return run([self._program, service, verb])

    def log(self, unit: Unit, run: Run) -> str | None:
        """OpenRC keeps none."""
        del unit, run
        return None
