"""Latency: from a job's submission to its result seen, one job at a time, through a control plane and an agent.

Both are started for the measurement with state of their own in a temporary folder, on free ports, and stopped again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.quickstart.errors import QuickstartError
from deploy.quickstart.home import Home
from deploy.quickstart.operator import Operator
from deploy.quickstart.up import Start

CASES: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "connection.test": ("connection.test", {}, "bench"),
    "script.bash true": ("script.bash", {"script": "true"}, None),
}
_WITHIN_S = 60.0
_USUAL_PORT = 18080


def main(argv: list[str]) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/bench latency", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200, help="measured jobs of each kind (default: 200)")
    parser.add_argument("--warm-up", type=int, default=10, help="unmeasured jobs before them (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="easyalert-bench-") as folder:
            figures = measure(Home(Path(folder)), options.jobs, options.warm_up)
    except QuickstartError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    print(json.dumps(figures) if options.json else table(figures))
    return 0


def measure(home: Home, jobs: int, warm_up: int) -> dict[str, Any]:
    """All figures; times in milliseconds. Raises QuickstartError."""
    home.prepare()
    home.port.write_text(str(_USUAL_PORT))  # beside an agent somebody may be running
    start = Start(home, None, threading.Event())
    try:
        start.controlplane()
        start.make_agent()
        operator = start.operator
        credentials = {"connectionId": "bench", "credentials": {"username": "bench", "password": "bench"}}
        waiting = operator.submit("system.storeCredential", start.agent_id, credentials)
        launched = time.time()
        start.agent()
        first = _succeeded(operator.wait(waiting, _WITHIN_S))
        return {
            "benchmark": "latency",
            "machine": machine(),
            "jobs": jobs,
            "startToFirstPollMs": round((_first_dispatch(first) - launched) * 1000, 1),
            "cases": {name: _case(operator, start.agent_id, name, jobs, warm_up) for name in CASES},
        }
    finally:
        start.stop_everything()


def _case(operator: Operator, agent_id: str, name: str, jobs: int, warm_up: int) -> dict[str, Any]:
    action, params, connection = CASES[name]
    seen_after: list[float] = []
    gaps: dict[str, list[float]] = {}
    for number in range(-warm_up, jobs):
        sent = time.perf_counter()
        job = _succeeded(operator.wait(operator.submit(action, agent_id, params, connection), _WITHIN_S))
        seen = (time.perf_counter() - sent) * 1000
        if number < 0:
            continue
        seen_after.append(seen)
        before = 0.0
        for step, at in [*((item["step"], float(item["ms"])) for item in job["timings"]), ("result seen", seen)]:
            gaps.setdefault(step, []).append(at - before)
            before = at
    return {
        "p50": round(statistics.median(seen_after), 1),
        "p99": round(percentile(seen_after, 99), 1),
        "max": round(max(seen_after), 1),
        "meanGaps": {step: round(statistics.fmean(values), 1) for step, values in gaps.items()},
    }


def percentile(values: list[float], percent: float) -> float:
    """The smallest measured value that at least `percent` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(int(rank), 1) - 1]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def table(figures: dict[str, Any]) -> str:
    """For people."""
    on = figures["machine"]
    lines = [
        f"{on['cpus']} CPUs, load {on['load']}, {on['system']}, Python {on['python']}",
        f"agent's start to its first poll: {figures['startToFirstPollMs']:.0f} ms",
        f"submission to result seen, one at a time, {figures['jobs']} jobs each, ms:",
    ]
    for name, case in figures["cases"].items():
        lines += ["", f"{name:<20} p50 {case['p50']:.1f}   p99 {case['p99']:.1f}   max {case['max']:.1f}"]
        lines += [f"    {step:<16}{gap:>+8.1f}" for step, gap in case["meanGaps"].items()]
    return "\n".join(lines)


def _succeeded(job: dict[str, Any]) -> dict[str, Any]:
    if job["status"] != "success":
        raise QuickstartError(f"{job['actionType']} ended with '{job['status']}': {(job['result'] or {}).get('error')}")
    return job


def _first_dispatch(job: dict[str, Any]) -> float:
    at = next(item["at"] for item in job["timings"] if item["step"] == "dispatched")
    return datetime.fromisoformat(at).timestamp()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
