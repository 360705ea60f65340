"""What is running, written down so that another command can find it and be sure it is ours."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from easyalert.files import write_atomically
from easyalert.runtime import ProcessIdentity


@dataclass(frozen=True)
class Record:
    """Processes of one start."""

    port: int
    controlplane: ProcessIdentity
    agent: ProcessIdentity | None = None
    """None while only the control plane has been started."""
    up: ProcessIdentity | None = None
    """The one that shows the status and stops the others; None when it was detached."""

    @property
    def whole(self) -> bool:
        """Whether both programs run."""
        return self.controlplane.alive() and self.agent is not None and self.agent.alive()

    @property
    def alive(self) -> bool:
        """Whether anything of it still runs."""
        return any(process is not None and process.alive() for process in (self.up, self.agent, self.controlplane))

    def write(self, path: Path) -> None:
        """Replace the file."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """None when there is none, or when it is not one: then nothing can be known from it."""
        try:
            found = json.loads(path.read_bytes())
            named = {name: found[name] and ProcessIdentity(**found[name]) for name in ("agent", "up")}
            return cls(port=int(found["port"]), controlplane=ProcessIdentity(**found["controlplane"]), **named)
        except (OSError, ValueError, TypeError, KeyError):
            return None


def send_signal(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal exactly this process, never another that got its number since. False when it is gone."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not process.alive():  # asked after the handle is held: from here on it cannot become another process
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, number)
        return True
    finally:
        os.close(handle)


def stop(process: ProcessIdentity, within: float) -> bool:
    """SIGTERM, then wait. False when it had to be killed after `within` seconds."""
    send_signal(process, signal.SIGTERM)
    end = time.monotonic() + within
    while process.alive():
        if time.monotonic() > end:
            send_signal(process, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True
