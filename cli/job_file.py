"""A job in a file, as it is sent to `POST /api/v1/jobs`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cli.terminal import plain
from easyalert.errors import EasyAlertError


class JobUnreadable(EasyAlertError):  # noqa: N818 - the condition is the name
    """What was given as a job is none; the sentence says why."""


def read_job(name: str) -> dict[str, Any]:
    """The job in the file, or on standard input for `-`; `params` is there, and an object. Raises JobUnreadable."""
    place = "standard input" if name == "-" else plain(name)
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        job = json.loads(raw, object_pairs_hook=_no_doubles)
    except OSError as error:
        raise JobUnreadable(f"{place} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise JobUnreadable(f"{place} is no JSON: {plain(problem)}") from None
    if not isinstance(job, dict) or not isinstance(job.get("actionType"), str):
        raise JobUnreadable(f'{place} is no job: write {{"actionType": "script.bash", "params": {{"script": "…"}}}}')
    job = {**job, "params": job.get("params") or {}}
    if not isinstance(job["params"], dict):
        raise JobUnreadable(f"{place}: params must be an object")
    if not isinstance(job.get("connectionId"), str | None):
        raise JobUnreadable(f"{place}: connectionId must be a text")
    return job


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice in one object, and readers differ about which one counts")
    return found
