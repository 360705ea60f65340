"""Footprint: memory of every process of an agent, idle, busy and after many jobs; CPU while idle; start to registered.

Control plane and agent are started for the measurement with state of their own in a temporary folder. Only root may
look into the agent's processes, so it takes root. Sizes are MiB of PSS: shared pages are divided among those who share
them. Of what the agent shares with other programs of this machine (libraries on disk) it is charged its part only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.latency import machine
from bench.memory import Process, cpu_seconds, family
from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.record import Record
from deploy.quickstart.up import Start

_USUAL_PORT: Final = 18080
_WITHIN_S: Final = 60.0
_SETTLED_S: Final = 3.0
"""Idle is: for so long the sum has not changed by more than the next figure."""
_SETTLED_KIB: Final = 512
_BUSY: Final = 5


def main(argv: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench footprint", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--slots", type=int, nargs="+", default=[5, 50], help="MAX_CONCURRENT_JOBS (default: 5 50)")
    parser.add_argument("--jobs", type=int, default=300, help="jobs before the last look (default: 300)")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds over which idle CPU is taken (default: 60)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    try:
        figures = measure(options.slots, options.jobs, options.idle)
    except (QuickstartError, PermissionError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(slots: list[int], jobs: int, idle_s: float) -> dict[str, Any]:
    """All figures; sizes in KiB, times in seconds. Raises QuickstartError, PermissionError."""
    agents = []
    for number in slots:
        with tempfile.TemporaryDirectory(prefix="ea-bench-", dir="/tmp") as folder:
            agents.append(_agent(Home(Path(folder)), number, jobs, idle_s))
    return {"benchmark": "footprint", "machine": machine(), "jobs": jobs, "agents": agents}


def _agent(home: Home, slots: int, jobs: int, idle_s: float) -> dict[str, Any]:
    home.prepare()
    home.port.write_text(str(_USUAL_PORT))  # beside an agent somebody may be running
    (home.path / ".env").write_text(f"MAX_CONCURRENT_JOBS={slots}\n")
    start = Start(home, None, threading.Event())
    try:
        start.controlplane()
        start.make_agent()
        launched = time.monotonic()
        start.agent()
        registered = time.monotonic() - launched
        look = _Look(home)
        idle = look.settled()
        cpu = look.cpu(idle_s)
        busy = _while_busy(start, look)
        _run(start, jobs)
        return {
            "slots": slots,
            "startToRegistered": round(registered, 2),
            "idleCpuPerMinute": round(cpu * 60 / idle_s, 2),
            "cases": {
                "idle": _case(idle),
                f"{_BUSY} jobs running": _case(busy),
                f"after {jobs} jobs": _case(look.settled()),
            },
        }
    finally:
        start.stop_everything()


class _Look:
    def __init__(self, home: Home) -> None:
        record = Record.read(home.running)
        assert record is not None
        assert record.agent is not None
        self._root = record.agent.pid

    def now(self) -> list[Process]:
        return family(self._root)

    def settled(self) -> list[Process]:
        end = time.monotonic() + _WITHIN_S
        before, since = 0, time.monotonic()
        while True:
            found = self.now()
            total = sum(process.pss for process in found)
            if abs(total - before) > _SETTLED_KIB:
                before, since = total, time.monotonic()
            if time.monotonic() - since >= _SETTLED_S or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def cpu(self, seconds: float) -> float:
        before = cpu_seconds(self._root)
        time.sleep(seconds)
        return cpu_seconds(self._root) - before


def _while_busy(start: Start, look: _Look) -> list[Process]:
    # not in the quick start's home: scripts see nothing of that
    with tempfile.TemporaryDirectory() as folder:
        return _held_up(start, look, Path(folder, "gate"))


def _held_up(start: Start, look: _Look, gate: Path) -> list[Process]:
    script = {"script": f"until [ -e '{gate}' ]; do sleep 0.1; done"}
    waiting = [start.operator.submit("script.bash", start.agent_id, script) for _ in range(_BUSY)]
    try:
        return look.settled()
    finally:
        gate.touch()
        for job in waiting:
            start.operator.wait(job, _WITHIN_S)


def _run(start: Start, jobs: int) -> None:
    submitted = [start.operator.submit("script.bash", start.agent_id, {"script": "true"}) for _ in range(jobs)]
    for job in submitted:
        start.operator.wait(job, _WITHIN_S)


def _case(processes: list[Process]) -> dict[str, Any]:
    return {
        "pss": sum(process.pss for process in processes),
        "private": sum(process.private for process in processes),
        "processes": [asdict(process) for process in processes],
    }


def table(figures: dict[str, Any]) -> str:
    """For people."""
    on = figures["machine"]
    lines = [f"{on['cpus']} CPUs, load {on['load']}, {on['system']}, Python {on['python']}; MiB"]
    for agent in figures["agents"]:
        start, cpu = agent["startToRegistered"], agent["idleCpuPerMinute"]
        lines += ["", f"{agent['slots']} slots: start to registered {start:.2f} s, idle CPU {cpu:.2f} s a minute"]
        for name, case in agent["cases"].items():
            lines += ["", f"  {name:<24}{'PSS':>8}{'private':>9}{'RSS':>8}"]
            rows = [(row["name"], row["pss"], row["private"], row["rss"]) for row in case["processes"]]
            rows.append(("in all", case["pss"], case["private"], None))
            for label, pss, private, rss in rows:
                shown = "" if rss is None else f"{rss / 1024:8.1f}"
                lines.append(f"    {label:<22}{pss / 1024:8.1f}{private / 1024:9.1f}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
