"""The jobs of a run: handed in at an even pace, each exactly once however often the control plane is away."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from chaos.checker import FINAL
from chaos.recorder import Recorder

_OPEN: Final = "pending,dispatched,accepted,running"
_IDEMPOTENT_EVERY: Final = 10
_LENGTH_S: Final = (0.01, 0.6)
_BATCH: Final = 8
"""Jobs come in batches, so that a line forms and all slots are taken."""
_RETRY_S: Final = 0.2


@dataclass(frozen=True)
class Planned:
    """One job of the load."""

    number: int
    at: float
    length: float
    idempotent: bool


def planned(seed: int, jobs: int, seconds: float) -> list[Planned]:
    """`jobs` jobs over `seconds`, in batches at an even pace; the same for the same seed."""
    dice = random.Random(seed)
    return [
        Planned(
            number,
            number // _BATCH * _BATCH * seconds / jobs,
            round(dice.uniform(*_LENGTH_S), 3),
            number % _IDEMPOTENT_EVERY == 9,
        )
        for number in range(jobs)
    ]


class Load:
    """Submits in a thread of its own; `ids` grows while it does."""

    def __init__(self, api: httpx.Client, recorder: Recorder, jobs: list[Planned], run_id: str) -> None:
        self._api = api
        self._recorder = recorder
        self._jobs = jobs
        self._run_id = run_id
        self._stop = threading.Event()
        self.ids: dict[int, str] = {}
        self.refused: list[str] = []
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether jobs are still being handed in."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Hand in no more."""
        self._stop.set()
        self._thread.join(60)

    def unfinished(self) -> int | None:
        """How many submitted jobs are not final, at most 500; None: the control plane does not answer."""
        found = ask(self._api, "/jobs", status=_OPEN, limit=500)
        return None if found is None else len(found)

    def finals(self) -> list[tuple[str, str]]:
        """(job id, state) of the newest jobs that are final now."""
        found = ask(self._api, "/jobs", status=",".join(sorted(FINAL)), limit=500)
        return [(str(job["id"]), str(job["status"])) for job in found or []]

    def _run(self) -> None:
        began = time.monotonic()
        for job in self._jobs:
            if self._stop.wait(max(0.0, began + job.at - time.monotonic())):
                return
            self._submit(job)

    def _submit(self, job: Planned) -> None:
        body: dict[str, Any] = {
            "actionType": "script.bash",
            "params": {"script": self._recorder.script(job.number, job.length)},
            "poolId": "default",
            "idempotencyKey": f"{self._run_id}-{job.number}",
        }
        if job.idempotent:
            body["idempotent"] = True
        while not self._stop.is_set():
            try:
                answer = self._api.post("/jobs", json=body)
            except httpx.HTTPError:
                self._stop.wait(_RETRY_S)
                continue
            if answer.status_code in {200, 201}:
                self.ids[job.number] = str(answer.json()["data"]["id"])
                return
            if answer.status_code < 500 and answer.status_code != 429:
                self.refused.append(f"job {job.number} was refused with {answer.status_code}: {answer.text[:200]}")
                return
            self._stop.wait(_RETRY_S)


def ask(api: httpx.Client, path: str, **query: Any) -> Any:
    """`data` of an answer; None when there was none."""
    try:
        answer = api.get(path, params=query)
        return answer.json()["data"] if answer.status_code == 200 else None
    except (httpx.HTTPError, ValueError):
        return None
