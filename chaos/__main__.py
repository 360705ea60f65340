"""`python -m chaos`: one run of the chaos suite; `scripts/chaos` starts it."""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import signal
import sys
from pathlib import Path
from typing import get_args

from chaos.nemesis import Mix
from chaos.run import Options, Run, as_table, new_folder


def main(argv: list[str]) -> int:
    """Run and judge. Exit codes: 0 every promise kept; 1 not, or the product did not start, or it was stopped."""
    options, as_json = _options(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that everything that was started is ended

    def say(line: str) -> None:
        sys.stderr.write(f"chaos: {line}\n")
        sys.stderr.flush()

    say(f"seed {options.seed}, {options.minutes:g} minutes, {options.jobs} jobs, {options.agents} agents")
    folder = new_folder()
    try:
        verdict = Run(options, folder, say).run()
    except AssertionError as error:
        say(f"the product did not come up: {error}; its logs are in {folder}")
        return 1
    except (KeyboardInterrupt, SystemExit):
        say("stopped; everything it had started is ended")
        _forget(folder)
        return 1
    print(json.dumps(verdict.figures | {"broken": verdict.violations}) if as_json else as_table(verdict))
    again = (
        f"scripts/chaos --seed {options.seed} --minutes {options.minutes:g} --jobs {options.jobs}"
        f" --agents {options.agents} --faults {options.mix}"
    )
    if verdict.violations:
        say(f"{len(verdict.violations)} promises broken; logs and history are in {folder}; again: {again}")
        return 1
    say(f"every promise kept; again: {again}")
    _forget(folder)
    return 0


def _options(argv: list[str]) -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description="Jobs under seeded faults, judged.")
    parser.add_argument("--seed", type=int, default=None, help="repeats the faults of that run (default: a new one)")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long faults strike (default: 5)")
    parser.add_argument("--jobs", type=int, default=None, help="jobs handed in meanwhile (default: 240 a minute)")
    parser.add_argument("--agents", type=int, choices=range(1, 5), default=2, help="agents of the pool (default: 2)")
    parser.add_argument("--faults", choices=get_args(Mix), default="all", help="kills: SIGKILL only, without a pause")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the figures")
    found = parser.parse_args(argv)
    jobs = found.jobs if found.jobs is not None else max(1, round(240 * found.minutes))
    seed = found.seed if found.seed is not None else secrets.randbelow(1_000_000)
    return Options(seed, found.minutes, jobs, found.agents, mix=found.faults), bool(found.json)


def _forget(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
