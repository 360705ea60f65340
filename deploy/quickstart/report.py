"""What a quick start shows: the table of a job's steps, and the line of live status."""

from __future__ import annotations

from typing import Any, TextIO

from deploy.quickstart.sample import Done


def sample(done: list[Done]) -> str:
    """The sample jobs and, for the last one, its output and the time of every step."""
    lines = [f"  {item.action:<24}{item.job['status']:<10}{item.seen_ms:>8.1f} ms" for item in done]
    last = done[-1]
    lines += ["", f"  Output of {last.action}, exit code {(last.job['result'] or {}).get('exitCode')}:"]
    lines += [f"    {line}" for line in last.stdout.splitlines()]
    lines += ["", f"  Its steps, from submission ({last.job['id']}):"]
    before = 0.0
    for name, at in last.steps:
        lines.append(f"    {name:<20}{at:>9.1f} ms{max(at - before, 0):>+9.1f}")
        before = at
    return "\n".join(lines)


def status(agent: dict[str, Any], waiting: int) -> str:
    """One line about the agent and its work."""
    hour = agent["lastHour"]
    failed = hour["total"] - hour["succeeded"]
    return (
        f"agent {agent['name']} {agent['status']}, health {agent['healthScore']:g}/100 | "
        f"running {agent['inFlight']} of {agent['capacity']}, waiting {waiting if waiting < 100 else '100 or more'} | "
        f"last hour {hour['succeeded']} ok, {failed} failed"
    )


class StatusLine:
    """On a terminal one line that is rewritten; elsewhere a line whenever it changes."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._last = ""

    def show(self, text: str) -> None:
        """Replace what is shown."""
        if text == self._last:
            return
        self._last = text
        self._out.write(f"\r\033[K{text}" if self._terminal else f"{text}\n")
        self._out.flush()

    def close(self) -> None:
        """Leave what is shown where it is; what comes next begins on a line of its own."""
        if self._terminal and self._last:
            self._out.write("\n")
            self._out.flush()
        self._last = ""
