"""`scripts/down`: stop what runs, in order, and only what is ours."""

from __future__ import annotations

import signal
import time

from deploy.quickstart.errors import EXIT_OK, QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.program import AGENT_STOP_SECONDS, CONTROLPLANE_STOP_SECONDS
from deploy.quickstart.record import Record, send_signal, stop
from easyalert.runtime import ProcessIdentity


def stop_all(agent: ProcessIdentity | None, controlplane: ProcessIdentity | None) -> None:
    """The agent, then the control plane. Raises QuickstartError naming what had to be killed."""
    late = []
    if agent is not None and not stop(agent, AGENT_STOP_SECONDS):
        late.append("agent")
    if controlplane is not None and not stop(controlplane, CONTROLPLANE_STOP_SECONDS):
        late.append("control plane")
    if late:
        raise QuickstartError(f"The {' and the '.join(late)} did not stop in time and had to be killed.")


def down(home: Home) -> int:
    """Run the command; its exit code. Nothing running is no error. Raises QuickstartError."""
    record = Record.read(home.running)
    if record is None or not record.alive:
        home.running.unlink(missing_ok=True)
        print(f"Nothing is running from {home.path}.")
        return EXIT_OK
    print("Stopping: running jobs get 30 s to finish ...", flush=True)
    if record.up is not None and send_signal(record.up, signal.SIGTERM):
        _wait_for_up(record.up)  # it stops the others itself
    stop_all(record.agent, record.controlplane)
    home.running.unlink(missing_ok=True)
    print(f"Stopped. Everything is kept in {home.path}.")
    return EXIT_OK


def _wait_for_up(process: ProcessIdentity) -> None:
    end = time.monotonic() + AGENT_STOP_SECONDS + CONTROLPLANE_STOP_SECONDS
    while process.alive() and time.monotonic() < end:
        time.sleep(0.05)
