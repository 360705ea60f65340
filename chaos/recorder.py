"""The record of effects: every job writes a mark before and after, and holds a connection open while it lives.

The marks are lines in a file opened with O_APPEND: a job that runs twice is seen twice, whoever dies. The connection
says how many jobs run at the same instant, killed ones included, which never write their second mark.
"""

from __future__ import annotations

import contextlib
import selectors
import shlex
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

_HELLO_MAX: Final = 4_096


@dataclass(frozen=True)
class Mark:
    """One line of the record."""

    kind: Literal["start", "end"]
    job: int
    agent: str
    at: float
    """Seconds since boot, 0.01 s fine (/proc/uptime)."""


class Recorder:
    """`script` is what a job runs; `marks` and `peaks` are what was seen."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the agents' folders are in it, each with the agent's name; the record is written there."""
        self._folder = folder
        self.path = folder / "effects"
        self.path.touch()
        self.peaks: dict[str, int] = {}
        """Agent → most jobs that were seen to live at one instant."""
        self._living: dict[socket.socket, str] = {}
        """Open connection → agent; empty until it has said so."""
        self._watch = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
        self._ending, self._end = socket.socketpair()
        for end in (self._listener, self._ending):
            self._watch.register(end, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def script(self, job: int, seconds: float) -> str:
        """A bash script without any program but `sleep`; it prints `printed_by(job)`."""
        port = self._listener.getsockname()[1]
        folder, record = shlex.quote(f"{self._folder}/"), shlex.quote(str(self.path))
        return "\n".join(
            (
                "set -e",
                f"agent=${{HOME#{folder}}}; agent=${{agent%%/*}}",
                f"exec 9<>/dev/tcp/127.0.0.1/{port}",
                'echo "$agent" >&9',
                "read -r up _ </proc/uptime",
                f'echo "start {job} $agent $up" >>{record}',
                f"echo begin {job}",
                f"sleep {seconds:.3f}",
                "read -r up _ </proc/uptime",
                f"echo end {job}",
                f'echo "end {job} $agent $up" >>{record}',
            )
        )

    def marks(self) -> list[Mark]:
        """What was written so far."""
        return read_marks(self.path.read_text("ascii"))

    @property
    def alive(self) -> int:
        """Jobs that hold their connection now."""
        return sum(self._lives(connection) for connection in list(self._living))

    def close(self) -> None:
        """End the thread and the connections."""
        self._end.close()
        self._thread.join(10)
        self._watch.close()
        for end in (self._listener, self._ending, *self._living):
            end.close()

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            for key, _ in self._watch.select():
                if key.fileobj is self._ending:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
                self._living[connection] = ""
                self._watch.register(connection, selectors.EVENT_READ)

    def _hear(self, connection: socket.socket) -> None:
        try:
            said = connection.recv(_HELLO_MAX).decode("ascii", "replace").strip()
        except OSError:  # reset
            said = ""
        if not said:
            self._watch.unregister(connection)
            del self._living[connection]
            connection.close()
            return
        self._living[connection] = said
        # all that are open now live at this one instant: looked at, not remembered, so that what has just ended is out
        together = sum(who == said and self._lives(other) for other, who in self._living.items())
        self.peaks[said] = max(self.peaks.get(said, 0), together)

    @staticmethod
    def _lives(connection: socket.socket) -> bool:
        try:
            return bool(connection.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return True
        except OSError:
            return False


def printed_by(job: int) -> str:
    """What a job writes to its standard output when nothing cuts it."""
    return f"begin {job}\nend {job}\n"


def read_marks(text: str) -> list[Mark]:
    """The marks of a record; a line that was cut short (a full disk) is left out."""
    found = []
    for line in text.splitlines():
        match line.split():
            case [("start" | "end") as kind, job, agent, at]:
                with contextlib.suppress(ValueError):
                    found.append(Mark(kind, int(job), agent, float(at)))
            case _:
                pass
    return found
