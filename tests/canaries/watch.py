"""Looks at the command line and the environment of every process of the product, all the while."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.canaries.search import Finding, Search

LOOK_S = 0.05


class Watch:
    """Of all descendants of this test, from construction to `stop`. What it finds is in `findings`."""

    def __init__(self, search: Search) -> None:
        self.findings: dict[str, Finding] = {}
        self.seen: set[str] = set()
        """Command lines."""
        self.looks = 0
        self._search = search
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Finding]:
        """End it; what was found."""
        self._over.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return list(self.findings.values())

    def _run(self) -> None:
        known: dict[int, bytes] = {}
        while not self._over.wait(LOOK_S):
            self.looks += 1
            for pid in descendants(os.getpid()):
                shown = b"\0\0".join(process_list(pid))
                if known.get(pid) != shown:  # a look at what has not changed would find nothing else
                    known[pid] = shown
                    self._look(pid, shown)

    def _look(self, pid: int, shown: bytes) -> None:
        command = shown.partition(b"\0\0")[0].replace(b"\0", b" ").decode("utf-8", "replace")
        self.seen.add(command)
        for finding in self._search.find(f"process list, {pid} ({command[:200]})", shown):
            self.findings[f"{command} {finding.label}"] = finding


def process_list(pid: int) -> Iterator[bytes]:
    """What root can read of a process: its command line, its first environment, its name."""
    for name in ("cmdline", "environ", "comm"):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{pid}/{name}").read_bytes()


def descendants(pid: int) -> Iterator[int]:
    """Children, their children, and so on; orphans of the agent are its supervisor's."""
    waiting = [pid]
    while waiting:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{waiting.pop()}/task").iterdir():
                with contextlib.suppress(OSError):
                    children = [int(child) for child in (task / "children").read_text().split()]
                    waiting += children
                    yield from children
